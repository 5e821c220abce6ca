"""Download model files before the run that needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ..errors import ModelError
from .load import Config

OnBytes = Callable[[int, int], None]
"""Called with the bytes that are there and the total size."""

Progress = Callable[[str], AbstractContextManager[OnBytes]]
"""Shows the download of the file with this name."""


@contextmanager
def silent(file: str) -> Iterator[OnBytes]:
    """Show nothing."""
    yield lambda done, total: None


def ensure(config: Config, name: str, progress: Progress = silent) -> None:
    """Download the weights that a model needs, unless they are there. Raises `ModelError` or `ConfigError`.

    A failed download is ignored if the model can answer without: the run then reports the failed proposers.
    """
    if not is_embedded(config, name):
        return
    from ..models.llamacpp.weights import SMOLLM2, fetch, found

    if found(SMOLLM2) is not None:
        return
    try:
        with progress(SMOLLM2.file_name) as on_bytes:
            fetch(SMOLLM2, on_bytes)
    except ModelError:
        if is_vital(config, name):
            raise


def is_embedded(config: Config, name: str) -> bool:
    """Return whether a model is the embedded one, or a mixture that calls it."""
    provider, model = config.resolve(name)
    if provider == "moa":
        return any(is_embedded(config, reference) for reference in config.mixtures[model].references)
    return provider == "local"


def is_vital(config: Config, name: str) -> bool:
    """Return whether a model cannot answer without the embedded one."""
    provider, model = config.resolve(name)
    if provider != "moa":
        return provider == "local"
    table = config.mixtures[model]
    proposals = sum(member.samples for member in table.proposer_layers[0] if not is_vital(config, member.model))
    aggregators = [one for one in (table.aggregator.model, *table.aggregator.fallback) if one]
    return proposals < table.quorum or (bool(aggregators) and all(is_vital(config, one) for one in aggregators))
