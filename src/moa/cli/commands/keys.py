"""`moa keys`: who may use the server."""

from __future__ import annotations

from typing import Annotated

import typer

from ..shared import ConfigFile, help_without_command, table

keys = typer.Typer(help="Keys of the clients of moa serve.", rich_markup_mode=None)
keys.callback(invoke_without_command=True)(help_without_command)


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Who it is for.", show_default=False)],
    mixtures: Annotated[str | None, typer.Option(metavar="A,B", help="All that it may use; else everything.")] = None,
    budget: Annotated[float | None, typer.Option(metavar="DOLLARS", help="All that it may spend a day.")] = None,
    config: ConfigFile = None,
) -> None:
    """Make a key and print it, once; only its hash is kept."""
    from ...server.auth import keyfile

    names = None if mixtures is None else [one.strip() for one in mixtures.split(",") if one.strip()]
    secret, file = keyfile.add_key(config, name, names, budget)
    typer.echo(secret)
    typer.echo(f"kept in {file}, as a hash: it cannot be shown again", err=True)


@keys.command("list")
def list_keys(config: ConfigFile = None) -> None:
    """List the keys."""
    from ...server.auth import keyfile

    header = ("id", "name", "mixtures", "dollars a day", "spent today", "created")
    table(header, keyfile.list_keys(config))


@keys.command("remove")
def remove_key(
    name: Annotated[str, typer.Argument(help="The name or the id of a key.", show_default=False)],
    config: ConfigFile = None,
) -> None:
    """Shut a key out, also of a server that is running."""
    from ...server.auth import keyfile

    typer.echo(f"removed {keyfile.remove_key(config, name)}", err=True)
