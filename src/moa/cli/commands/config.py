"""`moa config`: check or create moa.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import ConfigError
from ..shared import ConfigFile, help_without_command

config = typer.Typer(help="Check or create moa.toml.", rich_markup_mode=None)
config.callback(invoke_without_command=True)(help_without_command)


@config.command("check")
def check_config(file: ConfigFile = None) -> None:
    """Validate moa.toml."""
    from ...api import get_builder
    from ...config.load import load

    loaded, path = load(file)
    builder = get_builder(file)
    for name in loaded.mixtures:
        builder.model(f"moa:{name}")  # reads the prompt files too
    found = f"{path} is valid" if path else "no moa.toml found; the built-in configuration is valid"
    typer.echo(f"{found}: {len(loaded.mixtures)} mixtures, {len(loaded.providers)} providers, default {loaded.default}")


@config.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of moa.toml, for editors."""
    import json

    from ...config.load import schema

    typer.echo(json.dumps(schema(), indent=2))


@config.command("init")
def init_config(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("moa.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented moa.toml to start from."""
    from importlib.resources import files

    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(files("moa.config").joinpath("starter.toml").read_text("utf-8"))
    except FileExistsError:
        raise ConfigError(f"{file} exists already; overwrite it with --force") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"wrote {file}; draw its mixture with: moa mixtures panel", err=True)


@config.command("path")
def print_path() -> None:
    """Print the path of the moa.toml in use."""
    from ...config.load import find
    from ...paths import config_folder

    path = find()
    if path is None:
        raise ConfigError(f"no moa.toml in $MOA_CONFIG, ./ or {config_folder()}; write one with: moa config init")
    typer.echo(path.absolute())
