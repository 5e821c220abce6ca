"""`moa eval`: how good are the answers?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ...errors import ConfigError
from ..shared import help_without_command, table, told
from .eval_run import fetch, report, run, worth
from .experiment import experiment

evaluation = typer.Typer(help="Benchmarks, your own prompts, and judgements that exist.", rich_markup_mode=None)

for command in (run, worth, report, experiment, fetch):
    evaluation.command()(command)


@evaluation.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    help_without_command(context)


@evaluation.command()
def score(
    suite: Annotated[str, typer.Argument(help="What was judged: alpaca_eval.", show_default=False)],
    annotations: Annotated[Path, typer.Option(metavar="FILE", help="The judgements, as alpaca_eval writes them.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="The benchmark's files.")],
    c: Annotated[float | None, typer.Option(help="Of the penalty; else chosen by cross-validation.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score judgements that exist: win rates, raw, discrete and length-controlled.

    They are computed as AlpacaEval 2.0 does it. The error of the length-controlled win rate is by bootstrap, since the
    published one leaves out that the weights are fitted.
    """
    from ...evals.tasks.annotations import Annotations, Control
    from ...evals.tasks.annotations import score as scored

    if suite != "alpaca_eval":
        raise ConfigError(f"no judgements of {suite!r} can be scored; what can is: alpaca_eval")
    if c is not None and not 0 < c < float("inf"):
        raise ConfigError(f"--c must be above 0, not {c}")
    found = scored(Annotations.read(annotations), Control.read(data), c, seed)
    for warning in found.warnings:
        told(f"{found.model}: {warning}", 0)
    if as_json:
        figures = {key: None if value != value else value for key, value in asdict(found).items()}  # JSON has no NaN
        typer.echo(json.dumps(figures, ensure_ascii=False))
        return
    rows = [
        ("win rate", f"{found.win_rate:.2f} %", f"± {found.standard_error:.2f}"),
        ("  wins whole", f"{found.discrete_win_rate:.2f} %", ""),
        ("  length-controlled", f"{found.lc_win_rate:.2f} %", f"± {found.lc_bootstrap_se:.2f}"),
    ]
    table((found.model, "", "standard error"), rows)
    penalty = "no penalty" if found.c is None else f"C = {found.c:.4g}"
    typer.echo(f"{found.n} comparisons; {penalty}", err=True)
