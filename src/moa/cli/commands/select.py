"""`moa select`: models that complement each other."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from ...errors import ConfigError
from ..shared import ConfigFile, print_error

if TYPE_CHECKING:
    from ...evals.selection.choose import SelectedMixture
    from ...evals.selection.select import Method, Selection


def select(
    results: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Results of moa eval run to select from.")
    ] = None,
    preferences: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Or the quality of each answer: CSV with a column per model.")
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --preferences: the answers, a JSON file per model.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Number of models to select.")] = 3,
    method: Annotated[str, typer.Option(help="both, quality or diversity.")] = "both",
    layer: Annotated[
        bool, typer.Option("--layer", help="With --from: print the mixture as TOML, with the reasons.")
    ] = False,
    name: Annotated[str, typer.Option(help="With --layer: the name of the mixture.")] = "selected",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cross-validation.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: ConfigFile = None,
) -> None:
    """Select models whose answers are good and diverse.

    The score is the quality of the best of their answers, as a mean over the prompts in percent. The weight is that of
    diversity against quality. From results, an aggregator is selected too, with the reasons for and
    against the mixture.
    """
    from ...evals.selection.select import Method

    if method not in get_args(Method):
        raise ConfigError(f"no method {method!r}; there are: {', '.join(get_args(Method))}")
    if (results is None) == (preferences is None):
        raise ConfigError("no input; give --from with a folder of results, or --preferences with --outputs")
    if results is not None:
        _of_results(results, k, method, layer, name, seed, as_json, config)  # type: ignore[arg-type]
        return
    if layer:
        raise ConfigError("--layer needs --from: a table of preferences does not name the models")
    assert preferences is not None
    _print(_of_preferences(preferences, outputs, k, method, seed), as_json)  # type: ignore[arg-type]


def _of_preferences(preferences: Path, outputs: Path | None, k: int, method: Method, seed: int) -> Selection:
    from ...evals.selection.outputs import find_outputs, output_similarities, read_preferences
    from ...evals.selection.select import select as chosen

    judged = read_preferences(preferences)
    if method == "quality":
        return chosen(judged, {}, k, method, seed)
    if outputs is None:
        raise ConfigError(f"--method {method} needs the answers: give their folder with --outputs")
    answers = find_outputs(outputs, list(judged))
    if missing := sorted(set(judged) - set(answers)):
        print_error(
            f"{outputs} has no answers of {', '.join(missing)}: they count as neither like nor unlike the others", 0
        )
    return chosen(judged, output_similarities(answers), k, method, seed)


def _of_results(
    results: Path, k: int, method: Method, layer: bool, name: str, seed: int, as_json: bool, file: Path | None
) -> None:
    from ...config.load import load
    from ...evals.selection.choose import choose_mixture
    from ...evals.selection.outputs import read_results

    config = load(file)[0]
    found = choose_mixture(read_results(results, config), k, method, seed)
    for warning in found.warnings:
        print_error(warning, 0)
    if layer and not as_json:
        from ...config.draft import of_table

        typer.echo(_commented(found) + of_table(config, name, found.table()).toml, nl=False)
    elif as_json:
        more = {"aggregator": found.aggregator, "reasons": found.reasons, "warnings": found.warnings}
        typer.echo(json.dumps({**asdict(found.selection), **more}, ensure_ascii=False))
    else:
        _print(found.selection, as_json)
        typer.echo("\n".join(found.reasons), err=True)


def _commented(found: SelectedMixture) -> str:
    """Return the reasons for and against the mixture as comments."""
    but = (f"But: {warning}" for warning in found.warnings)
    lines = (f"Chosen by moa select on {found.prompts} prompts.", *found.reasons, *but)
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)


def _print(found: Selection, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    for name in found.members:
        typer.echo(name)
    weight = "" if found.weight is None else f"; diversity weighs {found.weight:g}"
    typer.echo(f"the best of their answers: {found.score:.2f} %{weight}", err=True)
