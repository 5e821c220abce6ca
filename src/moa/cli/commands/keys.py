"""`moa keys`: API keys of the server."""

from __future__ import annotations

from typing import Annotated

import typer

from ..shared import ConfigFile, help_without_command, print_table

keys = typer.Typer(help="Manage the API keys of moa serve.", rich_markup_mode=None)
keys.callback(invoke_without_command=True)(help_without_command)


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Name of the client.", show_default=False)],
    mixtures: Annotated[str | None, typer.Option(metavar="A,B", help="Mixtures that it may use; default: all.")] = None,
    budget: Annotated[float | None, typer.Option(metavar="DOLLARS", help="Budget per day.")] = None,
    config: ConfigFile = None,
) -> None:
    """Create a key and print it once. Only its hash is stored."""
    from ...server.auth import keyfile

    names = None if mixtures is None else [one.strip() for one in mixtures.split(",") if one.strip()]
    secret, file = keyfile.add_key(config, name, names, budget)
    typer.echo(secret)
    typer.echo(f"stored in {file} as a hash: it cannot be shown again", err=True)


@keys.command("list")
def list_keys(config: ConfigFile = None) -> None:
    """List the keys."""
    from ...server.auth import keyfile

    header = ("id", "name", "mixtures", "dollars a day", "spent today", "created")
    print_table(header, keyfile.list_keys(config))


@keys.command("remove")
def remove_key(
    name: Annotated[str, typer.Argument(help="The name or the id of a key.", show_default=False)],
    config: ConfigFile = None,
) -> None:
    """Revoke a key, also on a running server."""
    from ...server.auth import keyfile

    typer.echo(f"removed {keyfile.remove_key(config, name)}", err=True)
