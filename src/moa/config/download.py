"""Model files are fetched before the run that needs them, and their progress is seen on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import ModelError

if TYPE_CHECKING:
    from .load import Config

STEP = 10
"""Percent between two lines where there is no terminal to draw a bar on."""


def ensure(config: Config, name: str) -> None:
    """Fetch what the model of this name needs, unless it is there. Raises `ModelError` or `ConfigError`.

    Proposers that the answer can do without are lost in the run, with the reason, so they do not stop it here.
    """
    if not embedded(config, name):
        return
    from ..models.llamacpp.weights import SMOLLM2, fetch, found

    if found(SMOLLM2) is not None:
        return
    try:
        if sys.stderr.isatty():
            _with_bar(SMOLLM2.file_name, lambda tell: fetch(SMOLLM2, tell))
        else:
            fetch(SMOLLM2, _Lines(SMOLLM2.file_name).tell)
    except ModelError:
        if vital(config, name):
            raise


def embedded(config: Config, name: str) -> bool:
    """Whether the model of this name is the embedded one, or asks it."""
    provider, model = config.resolve(name)
    if provider == "moa":
        return any(embedded(config, reference) for reference in config.mixtures[model].references)
    return provider == "local"


def vital(config: Config, name: str) -> bool:
    """Whether the model of this name gives no answer without the embedded one."""
    provider, model = config.resolve(name)
    if provider != "moa":
        return provider == "local"
    table = config.mixtures[model]
    left = sum(member.samples for member in table.proposer_layers[0] if not vital(config, member.model))
    answering = [one for one in (table.aggregator.model, *table.aggregator.fallback) if one]
    return left < table.quorum or (bool(answering) and all(vital(config, one) for one in answering))


def _with_bar(name: str, fetch: Callable[[Callable[[int, int], None]], object]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("fetching {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        fetch(lambda done, total: bar.update(task, completed=done, total=total))


class _Lines:
    def __init__(self, name: str) -> None:
        self._name = name
        self._told = -STEP

    def tell(self, done: int, total: int) -> None:
        percent = 100 * done // total
        if percent >= self._told + STEP:
            self._told = percent - percent % STEP
            print(f"fetching {self._name}: {percent}% of {total / 1e6:.0f} MB", file=sys.stderr)  # noqa: T201
