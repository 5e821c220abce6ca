"""`moa eval run`, `worth`, `report` and `fetch`."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ...errors import ConfigError
from ..shared import ConfigFile, print_error, print_table

if TYPE_CHECKING:
    from ...evals.results_folder import Folder
    from ...evals.runner import Results
    from ...evals.sample import Metric
    from ...evals.stats.bootstrap import Comparison

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
    from ...evals.session import EvalSpec, session
    from ...evals.tasks.registry import benchmark
    from ..terminal.progress import progress

    if not model:
        raise ConfigError("name at least one model with -m, such as -m moa:panel")
    spec = EvalSpec(
        benchmark(suite, data), model, judge, seed, limit, output_dir, max_concurrency, max_cost, trace, config
    )
    with session(spec) as begun:
        with progress(begun.benchmark.name) as tell:
            results = run_to_end(begun.run(begun.models, tell))
        _print(results, begun.folder)


def run_to_end(work: Coroutine[Any, Any, Done]) -> Done:
    """Run an evaluation. When it is interrupted, say that the same command continues it."""
    import asyncio

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        print_error("stopped; the answers so far are stored, and the same command continues", 130)
        raise


def _print(results: Results, folder: Folder) -> None:
    rows = [
        (model, figure.name, _value(figure), _interval(figure), str(figure.n), figure.note)
        for model, figures in results.figures.items()
        for figure in figures
    ]
    from ...evals.report.report import write

    print_table(("model", "score", "value", "interval", "n", ""), rows)
    if any(figures[0].value is not None for figures in results.figures.values()):
        typer.echo(write(folder), err=True)
    scored = [one for of_model in results.scored.values() for one in of_model]
    failed = [error for one in scored if (error := one.answer.error or one.error)]
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


def _value(figure: Metric) -> str:
    return "-" if figure.value is None else f"{figure.value:.2f}{' ' * bool(figure.unit)}{figure.unit}"


def _interval(figure: Metric) -> str:
    return "" if figure.low is None or figure.high is None else f"{figure.low:.1f}..{figure.high:.1f}"


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
    from ...evals.experiments.worth import Question, asked
    from ...evals.report.report import write
    from ...evals.report.verdict import keep
    from ...evals.session import session
    from ...evals.tasks.registry import benchmark
    from ..terminal.progress import progress

    wanted = asked(benchmark(str(prompts)), model, judge, config)
    wanted = replace(
        wanted, seed=seed, limit=limit, out=output_dir, at_once=max_concurrency, spend=max_cost, traced=trace
    )
    with session(wanted) as begun:
        question = Question(begun, begun.asked.models[0], confidence, worthwhile)
        with progress(f"{question.mixture} and its members") as tell:
            results = run_to_end(question.first(tell))
        if not results.complete:
            _print(results, begun.folder)
        with progress("the best member, sampled") as tell:
            found = run_to_end(question.second(results, tell))
        keep(begun.folder, question.mixture, found)
        header = ("against", "won", "tied", "lost", "gain", "interval", "cost", "time", "$ a win")
        print_table(header, [_compared(one) for one in found.comparisons])
        typer.echo(f"{question.mixture} is {found.sentence}")
        typer.echo(write(begun.folder), err=True)


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
    from ...evals.report.report import write
    from ...evals.results_folder import Folder

    typer.echo(write(Folder.read(folder), seconds=seconds))


def fetch(
    suite: Annotated[str, typer.Argument(help="alpaca_eval, mt_bench or flask.", show_default=False)],
    into: Annotated[Path | None, typer.Option(metavar="DIR", help="Target folder; default: the cache folder.")] = None,
    mirror: Annotated[str | None, typer.Option(metavar="URL", help="URL of a folder with the files.")] = None,
) -> None:
    """Download the data of a public benchmark from its authors, and verify it."""
    from ...config.messages import did_you_mean
    from ...evals.tasks import public

    known = public.sources()
    if suite not in known:
        raise ConfigError(f"no public benchmark {suite!r}{did_you_mean(suite, known)}")
    typer.echo(f"{suite}: licence of the data: {public.licence(suite)}", err=True)
    public.fetch(suite, into or public.folder(suite), mirror, typer.echo)
