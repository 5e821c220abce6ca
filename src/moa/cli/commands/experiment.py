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
    from ...evals.experiments.candidate import evaluate_candidates, resolve_members
    from ...evals.experiments.paper import plan_experiment
    from ...evals.experiments.results import EXPERIMENT_HEADER, experiment_rows, experiment_summary, write_experiment
    from ...evals.session import session
    from ...evals.tasks.registry import load_task
    from ..terminal.footer import cost
    from ..terminal.progress import download_progress, progress

    models = resolve_members(config, model or [])
    plan = plan_experiment(name, models, resolve_members(config, [aggregator])[0] if aggregator else None, samples)
    with session(
        load_task(suite, data),
        models,
        judge,
        seed=seed,
        limit=limit,
        output_dir=output_dir,
        max_concurrency=max_concurrency,
        max_cost=max_cost,
        config=config,
        download_progress=download_progress,
    ) as opened:
        folder = opened.spec.folder
        before = folder.paid
        with progress(name) as on_progress:
            results = run_to_end(evaluate_candidates(opened, on_progress, [arm.candidate for arm in plan.arms]))
        print_table(EXPERIMENT_HEADER, experiment_rows(plan, results))
        typer.echo(experiment_summary(plan, results), err=True)
        for path in write_experiment(folder, plan, results):
            typer.echo(path, err=True)
        typer.echo(f"spent {cost(folder.paid - before)}, {cost(folder.paid)} in total", err=True)
