"""How far an evaluation is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .closing import cost

if TYPE_CHECKING:
    from ..evals.evaluate import Progress

STEP = 10
"""Percent between two lines where there is no terminal to draw a bar on."""


@contextmanager
def progress(name: str) -> Iterator[Callable[[Progress], None]]:
    """What to tell how far it is. All of it goes to standard error."""
    if not sys.stderr.isatty():
        yield _Lines(name).tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[cost]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, rate="", cost="")
        begun = time.monotonic()
        first: list[int] = []

        def tell(so_far: Progress) -> None:
            first[:] = first or [so_far.done - 1]
            rate = f"{(so_far.done - first[0]) / max(time.monotonic() - begun, 1e-3):.1f}/s"
            failed = f" · {so_far.failed} failed" if so_far.failed else ""
            bar.update(task, completed=so_far.done, total=so_far.total, rate=rate, cost=f"{cost(so_far.paid)}{failed}")

        yield tell


class _Lines:
    def __init__(self, name: str) -> None:
        self._name = name
        self._told = 0

    def tell(self, so_far: Progress) -> None:
        percent = 100 * so_far.done // so_far.total
        if percent >= self._told + STEP:
            self._told = percent - percent % STEP
            told = f"{self._name}: {so_far.done} of {so_far.total} · {cost(so_far.paid)}"
            print(told + (f" · {so_far.failed} failed" if so_far.failed else ""), file=sys.stderr)  # noqa: T201
