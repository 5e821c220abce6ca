"""`moa serve`: the HTTP server."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ...errors import ConfigError
from ..shared import ConfigFile


def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 is every network.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free one.")] = None,
    allow_unauthenticated: Annotated[
        bool | None,
        typer.Option(
            "--allow-unauthenticated",
            help="Accept requests from other machines without a key (dangerous).",
            show_default=False,
        ),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(help="Format of the log, which has a line per request.", show_default=False),
    ] = None,
) -> None:
    """Serve every mixture as a model, through the APIs of OpenAI, Anthropic and Ollama."""
    try:
        from ...server.serve import run
    except ModuleNotFoundError as error:
        raise ConfigError(f'moa serve needs {error.name}: pip install "mixture-of-agents[server]"') from None
    if code := run(config, host, port, allow_unauthenticated=allow_unauthenticated, log_format=log_format):
        raise typer.Exit(code)
