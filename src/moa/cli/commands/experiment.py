"""`moa eval experiment`: the paper's experiments with models of your own."""

from __future__ import annotations

from typing import Annotated

import typer

from ..shared import ConfigFile, table
from .eval_run import Data, JudgeName, Limit, MaxConcurrency, MaxCost, Models, OutputDir, Seed, asked_through


def experiment(
    name: Annotated[
        str,
        typer.Argument(help="collaborativeness, roles, proposers, layers or ranker.", show_default=False),
    ],
    suite: Annotated[str, typer.Argument(help="As for moa eval run.", show_default=False)],
    model: Models = None,
    aggregator: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Of mixtures that share one; else the first model.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How often a model is asked that proposes alone.")] = 6,
    judge: JudgeName = None,
    data: Data = None,
    limit: Limit = None,
    seed: Seed = 0,
    output_dir: OutputDir = None,
    max_cost: MaxCost = None,
    max_concurrency: MaxConcurrency = 32,
    config: ConfigFile = None,
) -> None:
    """Repeat an experiment of the paper: with and without others' answers, roles, proposers, layers, a ranker.

    What its mixtures have in common is asked and paid once. Where the proposers of a mixture are asked alone too, it is
    said whether its answers are more like the better of their proposals. Prints a table; a page, plots (SVG, PNG) and
    the figures as JSON are written into the results folder.
    """
    from ...evals.experiments import conducted
    from ...evals.experiments.paper import experiment as planned
    from ...evals.experiments.trial import members, tried
    from ...evals.session import EvalSpec, session
    from ...evals.tasks.registry import benchmark
    from ..terminal.footer import cost
    from ..terminal.progress import progress

    models = members(config, model or [])
    plan = planned(name, models, members(config, [aggregator])[0] if aggregator else None, samples)
    asked = EvalSpec(
        benchmark(suite, data), models, judge, seed, limit, output_dir, max_concurrency, max_cost, config=config
    )
    with session(asked) as begun:
        before = begun.folder.paid
        with progress(name) as tell:
            results = asked_through(tried(begun, tell, [arm.candidate for arm in plan.arms]))
        table(conducted.HEADER, conducted.rows(plan, results))
        typer.echo(conducted.said(plan, results), err=True)
        for path in conducted.kept(begun.folder, plan, results):
            typer.echo(path, err=True)
        typer.echo(f"spent {cost(begun.folder.paid - before)}, {cost(begun.folder.paid)} in all", err=True)
