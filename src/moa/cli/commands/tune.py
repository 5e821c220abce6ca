"""`moa tune`: search for the best mixture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..shared import ConfigFile, print_table
from .eval_run import JudgeName, Limit, MaxConcurrency, MaxCost, Models, OutputDir, Seed, run_to_end

if TYPE_CHECKING:
    from ...evals.experiments.candidate import Candidate
    from ...evals.experiments.results import Results


def tune(
    prompts: Annotated[str, typer.Option("--prompts", metavar="FILE", help="Prompts like yours, as for moa eval run.")],
    model: Models = None,
    max_cost_per_question: Annotated[
        float | None, typer.Option(min=0, help="Limit of the average cost of a question, in US dollars.")
    ] = None,
    max_latency: Annotated[
        float | None, typer.Option(min=0, help="Limit of the average time of a question, in seconds.")
    ] = None,
    judge: JudgeName = None,
    limit: Limit = None,
    seed: Seed = 0,
    output_dir: OutputDir = None,
    max_cost: MaxCost = None,
    max_concurrency: MaxConcurrency = 32,
    config: ConfigFile = None,
) -> None:
    """Search members, samples, layers and aggregators for the best mixtures within a cost and a latency.

    The models are those given with -m; the default is the members of the default mixture. Many candidates answer a few
    of the questions, the better ones more. Shared calls are made and paid once. If it is stopped, the same command
    continues. Prints the best trade-offs and writes them as mixtures (tuned.toml), with a plot, into the results
    folder.
    """
    from ...evals.experiments.candidate import evaluate_candidates, resolve_members
    from ...evals.experiments.results import TUNE_HEADER, tune_row, write_tuning
    from ...evals.experiments.tune import Limits
    from ...evals.experiments.tune import tune as search
    from ...evals.session import session
    from ...evals.tasks.registry import load_task
    from ..terminal.footer import cost
    from ..terminal.progress import download_progress, progress

    models = resolve_members(config, model or [])
    with session(
        load_task(prompts),
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

        async def assess(candidates: Sequence[Candidate], count: int) -> Results:
            with progress(f"{len(candidates)} on {count} prompts") as on_progress:
                return await evaluate_candidates(opened, on_progress, candidates, count)

        limits = Limits(max_cost_per_question, max_latency)
        tuned = run_to_end(search(models, assess, len(opened.spec.task.samples), limits))
        print_table(TUNE_HEADER, [tune_row(one) for one in tuned])
        for path in write_tuning(folder, tuned):
            typer.echo(path, err=True)
        typer.echo(f"spent {cost(folder.paid - before)}, {cost(folder.paid)} in total", err=True)
