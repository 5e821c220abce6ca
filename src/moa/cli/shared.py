"""Shared parts of commands: options, completion, tables, views, errors, and where the events of a run go."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, MoaError

if TYPE_CHECKING:
    from ..config.build import Builder
    from ..config.load import Config
    from ..model import Model
    from ..sinks import EventSink
    from .terminal.view import View


def complete_names(incomplete: str) -> list[str]:
    """Complete the name of a mixture or a model, up to its provider."""
    providers = [f"{name}:" for name in complete_providers("")]
    names = [*complete_mixtures(""), "local:smollm2", *providers]
    return [name for name in names if name.startswith(incomplete)]


def complete_mixtures(incomplete: str) -> list[str]:
    """Complete the name of a mixture."""
    config = _loadable()
    return [name for name in config.mixtures if name.startswith(incomplete)] if config else []


def complete_providers(incomplete: str) -> list[str]:
    """Complete the name of a provider."""
    config = _loadable()
    return [name for name in config.providers if name.startswith(incomplete)] if config else []


def _loadable() -> Config | None:
    """Return the configuration, or `None` if it is invalid: a completion cannot report errors."""
    from ..config.load import load

    try:
        return load()[0]
    except MoaError:
        return None


ConfigFile = Annotated[
    Path | None, typer.Option("-c", "--config", metavar="FILE", help="The moa.toml to use instead of the default one.")
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="A mixture, or a model as PROVIDER:MODEL.",
        autocompletion=complete_names,
    ),
]
System = Annotated[str | None, typer.Option("-s", "--system", metavar="TEXT", help="System prompt for every model.")]
Temperature = Annotated[float | None, typer.Option(help="Sampling temperature of the aggregator (0 to 2).")]
MaxTokens = Annotated[int | None, typer.Option(help="Maximum length of the answer, in tokens.")]
Seed = Annotated[int | None, typer.Option(help="Seed for repeatable output, where the model supports it.")]
Proposals = Annotated[bool, typer.Option("--proposals", help="Show every proposal before the answer.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")]


def help_without_command(context: typer.Context) -> None:
    """Print the help of a group that was called without a command."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table on a terminal, and tab-separated lines without the header elsewhere.

    Tabs, line breaks and control characters in a cell are replaced.
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

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in header:
        numeric = column in ("layers", "calls", "tokens", "cost", "time")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, "red" if cell.endswith(" is missing") else "") for cell in row))
    Console().print(table)


def create_view(
    proposals: bool = False,
    as_json: bool = False,
    as_events: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> View:
    """Return the view of a run on standard output: live on a terminal, elsewhere the answer alone, or JSON."""
    from .terminal import plain

    if as_events:
        return plain.EventLines()
    if as_json:
        return plain.JsonObject()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from .terminal.live import Screen

        return Screen(Console(), proposals, clock)
    return plain.Plain(proposals)


def print_error(message: str, code: int = 0) -> int:
    """Print an error or a warning to standard error, and return `code`."""
    from .terminal.escape import printable

    print(f"moa: {printable(message)}", file=sys.stderr)  # noqa: T201
    return code


def confirm(question: str) -> bool:
    """Ask on standard error, with yes as the default."""
    return typer.confirm(question, default=True, err=True)


def can_confirm() -> bool:
    """Return whether there is a terminal to ask on."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ready_model(name: str | None, config: Path | None) -> Model:
    """Return a model whose settings are checked and whose weights are downloaded. `None` is the default model."""
    from ..model import check

    builder = caching_builder(config)
    name = name or builder.config.default
    model = builder.model(name)
    check(model)
    download_weights(builder.config, name)
    return model


def download_weights(config: Config, name: str) -> None:
    """Download the weights that a model needs, with a progress bar."""
    from ..config.download import ensure
    from .terminal.progress import download_progress

    ensure(config, name, download_progress)


def caching_builder(config: Path | None) -> Builder:
    """Return a builder whose models use the cache, as far as `[store]` enables it."""
    from ..api import get_builder
    from ..store.settings import remembering

    table = get_builder(config).config.store
    try:
        return get_builder(config, remembering(table))
    except ConfigError:
        return get_builder(config)  # `event_sink` reports what is wrong with the store


@contextmanager
def event_sink(config: Path | None) -> Iterator[EventSink | None]:
    """Yield the sink that stores events and exports them to OpenTelemetry, or `None` if neither is enabled.

    Problems are printed at the end and never stop a run.
    """
    from ..api import get_builder
    from ..config.schema import TelemetryTable
    from ..sinks import tee
    from ..store.settings import keeping
    from ..telemetry.setup import start_telemetry

    store_problems: list[str] = []
    export_problems: list[str] = []
    store, telemetry = None, TelemetryTable(enabled=False)
    try:
        configured = get_builder(config).config
        telemetry = configured.telemetry
        store = keeping(configured.store, store_problems.append)
    except ConfigError as error:
        store_problems.append(str(error))
    try:
        with start_telemetry(telemetry, export_problems.append) as export:
            yield tee(store.emit if store else None, export) if store or export else None
    finally:
        if store and not store.close():
            store_problems.append(f"{store.path}: locked by other processes")
        for problem in store_problems:
            print_error(f"this run is not stored: {problem}")
        for problem in export_problems:
            print_error(problem)
