"""Progress on standard error: a bar on a terminal, a line per 10 percent elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .footer import cost

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from ...evals.runner import Progress

STEP = 10
"""Percent between two lines without a terminal."""

Report = Callable[[int, int, str], None]
"""Called with what is done, the total, and details such as a rate."""


@contextmanager
def progress(name: str) -> Iterator[Callable[[Progress], None]]:
    """Show how far an evaluation is, its rate and its cost."""
    with _bar_or_lines(name) as report:
        started = time.monotonic()
        bar = sys.stderr.isatty()

        def on_progress(now: Progress) -> None:
            details = figures(now, time.monotonic() - started if bar else 0.0)
            report(now.done, now.total, details)

        yield on_progress


@contextmanager
def download_progress(file: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much of a file is downloaded."""
    with _bar_or_lines(f"downloading {file}", "MB", 1e6) as report:
        yield lambda done, total: report(done, total, "")


def figures(now: Progress, seconds: float) -> str:
    """Return rate, cost, failures and the time left, at the rate of these first seconds."""
    parts = [cost(now.paid)]
    if now.failed:
        parts.append(f"{now.failed} failed")
    if now.new and seconds:
        rate = now.new / seconds
        minutes, rest = divmod(round((now.total - now.done) / rate), 60)
        parts = [f"{rate:.1f}/s", *parts, f"{minutes}:{rest:02d} left"]
    return " · ".join(parts)


@contextmanager
def _bar_or_lines(name: str, unit: str = "", scale: float = 1) -> Iterator[Report]:
    if not sys.stderr.isatty():
        yield _lines(name, unit, scale)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    counts: list[ProgressColumn] = [DownloadColumn(), TransferSpeedColumn()] if unit else [MofNCompleteColumn()]
    columns = TextColumn("{task.description}"), BarColumn(), *counts, TextColumn("{task.fields[details]}")
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, details="")
        yield lambda done, total, details: bar.update(task, completed=done, total=total, details=details)


def _lines(name: str, unit: str, scale: float) -> Report:
    reached = -STEP if unit else 0  # a download may take long until its first 10 percent

    def report(done: int, total: int, details: str) -> None:
        nonlocal reached
        percent = 100 * done // total
        if percent >= reached + STEP:
            reached = percent - percent % STEP
            amount = f"{done / scale:.0f} of {total / scale:.0f} {unit}".rstrip()
            print(f"{name}: {amount}{details and f' · {details}'}", file=sys.stderr)  # noqa: T201

    return report
