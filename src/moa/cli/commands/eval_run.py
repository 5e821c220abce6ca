"""`moa eval run`, `worth`, `report` and `fetch`."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ...errors import ConfigError
from ..shared import ConfigFile, print_error, print_table

if TYPE_CHECKING:
    from ...evals.results_folder import ResultsFolder
    from ...evals.runner import Results
    from ...evals.stats.comparison import Comparison
    from ...evals.task import Metric

Done = TypeVar("Done")

Models = Annotated[
    list[str] | None,
    typer.Option("-m", "--model", metavar="MODEL", help="A mixture or a model; repeat for more."),
]
JudgeName = Annotated[str | None, typer.Option("--judge", metavar="MODEL", help="The model that compares answers.")]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Folder with the benchmark's files; nothing is downloaded.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Maximum number of samples, drawn with the seed.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every request and of the drawn samples.")]
OutputDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The results folder; by default one in results/.", show_default=False)
]
MaxCost = Annotated[
    float | None, typer.Option(min=0, help="Total budget in US dollars, over all restarts; stops before exceeding it.")
]
MaxConcurrency = Annotated[
    int,
    typer.Option(min=1, help="Concurrent questions; also concurrent calls per provider, unless moa.toml limits them."),
]
Traced = Annotated[bool, typer.Option("--trace/--no-trace", help="Store every call with the results.")]


def run(
    suite: Annotated[
        str, typer.Argument(help="alpaca_eval, mt_bench, flask, or your own .jsonl file.", show_default=False)
    ],
    model: Models = None,
    judge: JudgeName = None,
    data: Data = None,
    limit: Limit = None,
    seed: Seed = 0,
    output_dir: OutputDir = None,
    max_cost: MaxCost = None,
    max_concurrency: MaxConcurrency = 32,
    trace: Traced = True,
    config: ConfigFile = None,
) -> None:
    """Run models on a task and score their answers.

    If it is stopped or killed, the same command continues where it was. The results are JSON lines in a folder, with a
    report.
    """
    from ...evals.session import session
    from ...evals.tasks.registry import load_task
    from ..terminal.progress import download_progress, progress

    if not model:
        raise ConfigError("name at least one model with -m, such as -m moa:panel")
    with session(
        load_task(suite, data),
        model,
        judge,
        seed=seed,
        limit=limit,
        output_dir=output_dir,
        max_concurrency=max_concurrency,
        max_cost=max_cost,
        trace=trace,
        config=config,
        download_progress=download_progress,
    ) as opened:
        with progress(opened.spec.task.name) as on_progress:
            results = run_to_end(opened.run(opened.models, on_progress))
        _print(results, opened.spec.folder)


def run_to_end(work: Coroutine[Any, Any, Done]) -> Done:
    """Run an evaluation. When it is interrupted, say that the same command continues it."""
    import asyncio

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        print_error("stopped; the answers so far are stored, and the same command continues", 130)
        raise


def _print(results: Results, folder: ResultsFolder) -> None:
    rows = [
        (model, metric.name, _value(metric), _interval(metric), str(metric.n), metric.note)
        for model, metrics in results.metrics.items()
        for metric in metrics
    ]
    from ...evals.report.report import write_report

    print_table(("model", "score", "value", "interval", "n", ""), rows)
    if any(metrics[0].value is not None for metrics in results.metrics.values()):
        typer.echo(write_report(folder), err=True)
    scored = [one for of_model in results.scored.values() for one in of_model]
    failed = [error for one in scored if (error := one.failure)]
    code = 0
    if failed:
        code = print_error(
            f"{len(failed)} failed, the first with: {failed[0]}; the same command retries them",
            len(failed) == len(scored),
        )
    if not results.complete:
        from ..terminal.footer import cost

        whole = len(folder.samples) * len(results.scored)
        words = f"stopped at {cost(folder.paid)}: {len(scored)} of {whole} answered"
        code = print_error(f"{words}; the same command with a higher --max-cost continues", 1)
    if code:
        raise typer.Exit(code)


def _value(metric: Metric) -> str:
    return "-" if metric.value is None else f"{metric.value:.2f}{' ' * bool(metric.unit)}{metric.unit}"


def _interval(metric: Metric) -> str:
    return "" if metric.low is None or metric.high is None else f"{metric.low:.1f}..{metric.high:.1f}"


def worth(
    model: Annotated[str, typer.Option("-m", "--model", metavar="MIXTURE", help="The mixture.", show_default=False)],
    prompts: Annotated[Path, typer.Option(metavar="FILE", help="Your prompts, a .jsonl file.", show_default=False)],
    judge: JudgeName = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Confidence of the intervals.")] = 0.95,
    worthwhile: Annotated[float, typer.Option(min=0, help="Gain in points that would be worth the price.")] = 5.0,
    limit: Limit = None,
    seed: Seed = 0,
    output_dir: OutputDir = None,
    max_cost: MaxCost = None,
    max_concurrency: MaxConcurrency = 32,
    trace: Traced = True,
    config: ConfigFile = None,
) -> None:
    """Test whether a mixture is worth its price on your prompts.

    It is compared with each member alone, and with the best member sampled at the same cost and in the same time.
    Prompts with answers are scored by rule. For others, a judge compares each pair in both orders.
    """
    from ...evals.experiments.worth import WorthExperiment, mixture_and_members
    from ...evals.report.report import write_report
    from ...evals.report.verdict import store_worth
    from ...evals.session import session
    from ...evals.tasks.registry import load_task
    from ..terminal.progress import download_progress, progress

    with session(
        load_task(str(prompts)),
        mixture_and_members(model, config),
        judge,
        seed=seed,
        limit=limit,
        output_dir=output_dir,
        max_concurrency=max_concurrency,
        max_cost=max_cost,
        trace=trace,
        config=config,
        download_progress=download_progress,
    ) as opened:
        experiment, folder = WorthExperiment(opened, confidence, worthwhile), opened.spec.folder
        with progress(f"{experiment.mixture} and its members") as on_progress:
            results = run_to_end(experiment.evaluate_members(on_progress))
        if not results.complete:
            _print(results, folder)
        with progress("the best member, sampled") as on_progress:
            verdict = run_to_end(experiment.evaluate_rivals(results, on_progress))
        store_worth(folder, experiment.mixture, verdict)
        header = ("against", "won", "tied", "lost", "gain", "interval", "cost", "time", "$ a win")
        print_table(header, [_compared(one) for one in verdict.comparisons])
        typer.echo(f"{experiment.mixture} is {verdict.sentence}")
        typer.echo(write_report(folder), err=True)


def _compared(one: Comparison) -> tuple[str, ...]:
    gain = one.decisive
    ratios = ("" if ratio is None else f"{ratio:.1f}x" for ratio in (one.cost_ratio, one.seconds_ratio))
    counts = map(str, (one.wins, one.ties, one.losses))
    each = "" if one.cost_per_win is None else f"{one.cost_per_win:.2g}"
    return (one.rival, *counts, f"{gain.value:+.1f}", f"{gain.low:+.1f}..{gain.high:+.1f}", *ratios, each)


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.", show_default=False)],
    seconds: Annotated[bool, typer.Option("--seconds", help="Show the time of the answers.")] = False,
) -> None:
    """Write the report of a results folder: one HTML file that needs no network."""
    from ...evals.report.report import write_report
    from ...evals.results_folder import ResultsFolder

    typer.echo(write_report(ResultsFolder.read(folder), seconds=seconds))


def fetch(
    suite: Annotated[str, typer.Argument(help="alpaca_eval, mt_bench or flask.", show_default=False)],
    into: Annotated[Path | None, typer.Option(metavar="DIR", help="Target folder; default: the cache folder.")] = None,
    mirror: Annotated[str | None, typer.Option(metavar="URL", help="URL of a folder with the files.")] = None,
) -> None:
    """Download the data of a public benchmark from its authors, and verify it."""
    from ...config.messages import did_you_mean
    from ...evals.tasks import data

    known = data.sources()
    if suite not in known:
        raise ConfigError(f"no public benchmark {suite!r}{did_you_mean(suite, known)}")
    typer.echo(f"{suite}: licence of the data: {data.licence(suite)}", err=True)
    data.fetch(suite, into or data.download_folder(suite), mirror, typer.echo)
