"""What only some people install: a missing library is told as the extra it comes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import ConfigError


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports: what is missing is a `ConfigError` that says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        clone = f"in a clone: uv run --extra {extra} moa ..."
        raise ConfigError(f'this needs {error.name}: pip install "mixture-of-agents[{extra}]" ({clone})') from None
