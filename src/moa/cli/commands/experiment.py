"""`moa eval experiment`: the paper's experiments with your own models."""

from __future__ import annotations

from typing import Annotated

import typer

from ..shared import ConfigFile, print_table
from .eval_run import Data, JudgeName, Limit, MaxConcurrency, MaxCost, Models, OutputDir, Seed, run_to_end


def experiment(
    name: Annotated[
        str,
        typer.Argument(help="collaborativeness, roles, proposers, layers or ranker.", show_default=False),
    ],
    suite: Annotated[str, typer.Argument(help="The task, as for moa eval run.", show_default=False)],
    model: Models = None,
    aggregator: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Aggregator of mixtures that share one; default: the first model."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples of a model that is the only proposer.")] = 6,
    judge: JudgeName = None,
    data: Data = None,
    limit: Limit = None,
    seed: Seed = 0,
    output_dir: OutputDir = None,
    max_cost: MaxCost = None,
    max_concurrency: MaxConcurrency = 32,
    config: ConfigFile = None,
) -> None:
    """Repeat an experiment of the paper: collaborativeness, roles, proposers, layers, or a ranker.

    Calls that its mixtures share are made and paid once. Where the proposers of a mixture are evaluated alone too, the
    result says whether its answers are more similar to the better proposals. Prints a table, and writes a page, plots
    and the metrics as JSON into the results folder.
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
    spec = EvalSpec(
        benchmark(suite, data), models, judge, seed, limit, output_dir, max_concurrency, max_cost, config=config
    )
    with session(spec) as begun:
        before = begun.folder.paid
        with progress(name) as tell:
            results = run_to_end(tried(begun, tell, [arm.candidate for arm in plan.arms]))
        print_table(conducted.HEADER, conducted.rows(plan, results))
        typer.echo(conducted.said(plan, results), err=True)
        for path in conducted.kept(begun.folder, plan, results):
            typer.echo(path, err=True)
        typer.echo(f"spent {cost(begun.folder.paid - before)}, {cost(begun.folder.paid)} in total", err=True)
