"""`moa eval`: evaluate mixtures and models."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ...errors import ConfigError
from ..shared import help_without_command, print_error, print_table
from .eval_run import fetch, report, run, worth
from .experiment import experiment

evaluation = typer.Typer(
    help="Evaluate on benchmarks, your own prompts, or existing judgements.", rich_markup_mode=None
)

for command in (run, worth, report, experiment, fetch):
    evaluation.command()(command)


@evaluation.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    help_without_command(context)


@evaluation.command()
def score(
    suite: Annotated[str, typer.Argument(help="The benchmark of the judgements: alpaca_eval.", show_default=False)],
    annotations: Annotated[Path, typer.Option(metavar="FILE", help="The judgements, as written by alpaca_eval.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with the benchmark's files.")],
    c: Annotated[
        float | None, typer.Option(help="Strength of the penalty; default: chosen by cross-validation.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score existing judgements: win rates, raw, discrete and length-controlled.

    They are computed as in AlpacaEval 2.0. The error of the length-controlled win rate is a bootstrap estimate, because
    the published one ignores that the weights are fitted.
    """
    from ...evals.tasks.annotations import Annotations, Control
    from ...evals.tasks.annotations import score as scored

    if suite != "alpaca_eval":
        raise ConfigError(f"no benchmark {suite!r} with judgements; use alpaca_eval")
    if c is not None and not 0 < c < float("inf"):
        raise ConfigError(f"--c must be greater than 0, got {c}")
    found = scored(Annotations.read(annotations), Control.read(data), c, seed)
    for warning in found.warnings:
        print_error(f"{found.model}: {warning}", 0)
    if as_json:
        figures = {key: None if value != value else value for key, value in asdict(found).items()}  # JSON has no NaN
        typer.echo(json.dumps(figures, ensure_ascii=False))
        return
    rows = [
        ("win rate", f"{found.win_rate:.2f} %", f"± {found.standard_error:.2f}"),
        ("  discrete", f"{found.discrete_win_rate:.2f} %", ""),
        ("  length-controlled", f"{found.lc_win_rate:.2f} %", f"± {found.lc_bootstrap_se:.2f}"),
    ]
    print_table((found.model, "", "standard error"), rows)
    penalty = "no penalty" if found.c is None else f"C = {found.c:.4g}"
    typer.echo(f"{found.n} comparisons; {penalty}", err=True)
