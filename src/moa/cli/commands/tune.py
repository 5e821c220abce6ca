"""`moa tune`: which mixture to take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..shared import ConfigFile, table
from .eval_run import JudgeName, Limit, MaxConcurrency, MaxCost, Models, OutputDir, Seed, asked_through

if TYPE_CHECKING:
    from ...evals.experiments.candidate import Candidate
    from ...evals.experiments.findings import Results


def tune(
    prompts: Annotated[
        str, typer.Option("--prompts", metavar="FILE", help="Questions like yours, as moa eval run takes them.")
    ],
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
    """Search members, samples, layers and aggregator for the best mixtures within dollars and seconds.

    The models are those named with -m, else the members of the default mixture. Many candidates are asked a few of the
    questions, the better ones more; what they share is asked and paid once. Stopped, the same command goes on where it
    was. Prints the front, best first, and writes it as mixtures (tuned.toml) with a plot into the results folder.
    """
    from ...evals.experiments.trial import members, tried
    from ...evals.experiments.tune import Limits
    from ...evals.experiments.tune import tune as search
    from ...evals.experiments.tuned import HEADER, kept, row
    from ...evals.session import EvalSpec, session
    from ...evals.tasks.registry import benchmark
    from ..terminal.footer import cost
    from ..terminal.progress import progress

    models = members(config, model or [])
    asked = EvalSpec(
        benchmark(prompts, None), models, judge, seed, limit, output_dir, max_concurrency, max_cost, config=config
    )
    with session(asked) as begun:
        before = begun.folder.paid

        async def assess(candidates: Sequence[Candidate], count: int) -> Results:
            with progress(f"{len(candidates)} on {count} prompts") as tell:
                return await tried(begun, tell, candidates, count)

        found = asked_through(
            search(models, assess, len(begun.benchmark.samples), Limits(max_cost_per_question, max_latency))
        )
        table(HEADER, [row(one) for one in found])
        for path in kept(begun.folder, found):
            typer.echo(path, err=True)
        typer.echo(f"spent {cost(begun.folder.paid - before)}, {cost(begun.folder.paid)} in all", err=True)
