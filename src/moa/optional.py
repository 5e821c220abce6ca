"""Optional dependencies: an error for a missing one names the extra that installs it."""

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
