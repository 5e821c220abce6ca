"""What several commands have in common: an option, a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("-c", "--config", metavar="FILE", help="A moa.toml to use instead of the one found.")
]


def help_without_command(context: typer.Context) -> None:
    """What a group does when it is called without a command."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on a terminal; elsewhere a line a row, with tabs, for other programs."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in header:
        shown.add_column(column, justify="right" if column in ("layers", "calls") else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell, "red" if cell.endswith(" is missing") else "") for cell in row))
    Console().print(shown)
