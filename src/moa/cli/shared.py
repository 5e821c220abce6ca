"""What several commands have in common: an option, a table, a view, how runs are kept, how errors are told."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..config.build import Builder
    from ..sinks import EventSink
    from .terminal.view import View

ConfigFile = Annotated[
    Path | None, typer.Option("-c", "--config", metavar="FILE", help="A moa.toml to use instead of the one found.")
]


def help_without_command(context: typer.Context) -> None:
    """What a group does when it is called without a command."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on a terminal; elsewhere a line a row, with tabs, for other programs.

    A cell stays one cell, whatever is in it.
    """
    from .terminal.escape import printable

    rows = [tuple(printable(cell).translate({9: " ", 10: " "}) for cell in row) for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in header:
        shown.add_column(
            column,
            justify="right" if column in ("layers", "calls", "tokens", "cost", "time") else "left",
            overflow="fold",
        )
    for row in rows:
        shown.add_row(*(Text(cell, "red" if cell.endswith(" is missing") else "") for cell in row))
    Console().print(shown)


def view(
    proposals: bool = False,
    as_json: bool = False,
    as_events: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> View:
    """What shows a run on standard output: the live screen on a terminal, else the answer alone, or JSON."""
    from .terminal import plain

    if as_events:
        return plain.Lines()
    if as_json:
        return plain.Whole()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from .terminal.live import Screen

        return Screen(Console(), proposals, clock)
    return plain.Plain(proposals)


def told(message: str, code: int) -> int:
    """Say it on standard error; the code."""
    from .terminal.escape import printable

    print(f"moa: {printable(message)}", file=sys.stderr)  # noqa: T201
    return code


def remembering_builder(config: Path | None) -> Builder:
    """What makes the models of a configuration, which remember their answers as far as it says."""
    from ..api import get_builder
    from ..store.settings import remembering

    table = get_builder(config).config.store
    try:
        return get_builder(config, remembering(table))
    except ConfigError:
        return get_builder(config)  # what is wrong is said where the run is to be kept


@contextmanager
def kept(config: Path | None) -> Iterator[EventSink | None]:
    """Where events go to be kept, and to OpenTelemetry where that is asked for, or `None`. What cannot be done is said
    at the end, and stops nothing."""
    from ..api import get_builder
    from ..config.schema import TelemetryTable
    from ..sinks import tee
    from ..store.settings import keeping
    from ..telemetry.setup import start_telemetry

    problems: list[str] = []
    unsent: list[str] = []
    store, telemetry = None, TelemetryTable(enabled=False)
    try:
        configured = get_builder(config).config
        telemetry = configured.telemetry
        store = keeping(configured.store, problems.append)
    except ConfigError as error:
        problems.append(str(error))
    try:
        with start_telemetry(telemetry, unsent.append) as sent:
            yield tee(store.emit if store else None, sent) if store or sent else None
    finally:
        if store and not store.close():
            problems.append(f"{store.path} cannot be written for now: other processes are writing")
        for problem in problems:
            told(f"this run is not stored: {problem}", 0)
        for problem in unsent:
            told(problem, 0)
