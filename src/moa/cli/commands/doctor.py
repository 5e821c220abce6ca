"""`moa doctor`: an examination of a mixture."""

from __future__ import annotations

from typing import Annotated

import typer

from ..shared import ConfigFile, complete_names, download_weights


def doctor(
    mixture: Annotated[
        str | None,
        typer.Argument(help="A mixture, or a single model.", autocompletion=complete_names, show_default=False),
    ] = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Send a test question through a mixture and check every step.

    The report is about what was really sent and received: which models were called, which proposals they were shown,
    what fits their context windows, what it costs, and which models are unreachable.
    """
    import asyncio
    import json

    from ...api import get_builder
    from ...doctor import examine
    from ..terminal.escape import printable

    builder = get_builder(config)
    name = mixture or builder.config.default
    model = builder.model(name)
    download_weights(builder.config, name)
    typer.echo(f"sending a question through {model.name} ...", err=True)
    report = asyncio.run(examine(model))
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        typer.echo("\n".join(printable(line) for line in report.lines))
    raise typer.Exit(report.exit_code)
