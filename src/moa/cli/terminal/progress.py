"""How far an evaluation is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .footer import cost

if TYPE_CHECKING:
    from ...evals.runner import Progress

STEP = 10
"""Percent between two lines where there is no terminal to draw a bar on."""


@contextmanager
def progress(name: str) -> Iterator[Callable[[Progress], None]]:
    """What to tell how far it is. All of it goes to standard error."""
    if not sys.stderr.isatty():
        yield _Lines(name).tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}")
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, told="")
        begun = time.monotonic()

        def tell(so_far: Progress) -> None:
            told = figures(so_far, time.monotonic() - begun)
            bar.update(task, completed=so_far.done, total=so_far.total, told=told)

        yield tell


def figures(so_far: Progress, seconds: float) -> str:
    """Rate, cost, what failed, and the time that is left if it goes on as in these seconds."""
    told = [cost(so_far.paid)]
    if so_far.failed:
        told.append(f"{so_far.failed} failed")
    if so_far.asked and seconds:
        rate = so_far.asked / seconds
        minutes, rest = divmod(round((so_far.total - so_far.done) / rate), 60)
        told = [f"{rate:.1f}/s", *told, f"{minutes}:{rest:02d} left"]
    return " · ".join(told)


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
