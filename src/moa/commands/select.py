"""`moa select`: which models go together."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from .shared import told


def select(
    preferences: Annotated[
        Path, typer.Option(metavar="FILE", help="How good each model's answers are: CSV, a column for each model.")
    ],
    outputs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The answers themselves: a JSON file for each model.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many to choose.")] = 3,
    method: Annotated[str, typer.Option(help="both, quality or diversity.")] = "both",
    seed: Annotated[int, typer.Option(min=0, help="Which prompts are validated together.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Choose the models whose answers are good and not all alike.

    The score is how good the best of their answers are: the mean over the prompts, in percent. The weight says how much
    diversity counted against quality.
    """
    from ..evals.outputs import find, likeness, preferences_of
    from ..selection import select as chosen

    judged = preferences_of(preferences)
    if outputs is None and method != "quality":
        raise ConfigError(f"--method {method} needs the answers: name their folder with --outputs")
    answers = find(outputs, list(judged)) if outputs and method != "quality" else {}
    missing = sorted(set(judged) - set(answers))
    if missing and method != "quality":
        told(f"{outputs} has no answers of {', '.join(missing)}: they count as neither like nor unlike the others", 0)
    found = chosen(judged, likeness(answers), k, method, seed)  # type: ignore[arg-type]  # an unknown method is told
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    for name in found.members:
        typer.echo(name)
    weight = "" if found.weight is None else f"; diversity weighs {found.weight:g}"
    typer.echo(f"the best of their answers: {found.score:.2f} %{weight}", err=True)
