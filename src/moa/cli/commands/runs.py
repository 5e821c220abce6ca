"""`moa runs`: stored runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigError, StoreError
from ..shared import (
    ConfigFile,
    Proposals,
    Yes,
    can_confirm,
    confirm,
    create_view,
    download_weights,
    event_sink,
    print_error,
    print_table,
)

if TYPE_CHECKING:
    from ...provenance.attribution import Provenance
    from ...store.reader import StoredRun
    from ...store.store import Store
    from ...trace.tree import Trace

runs = typer.Typer(help="List, show, replay, compare and rerun stored runs.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="RUN", help="The beginning of a run id, or last.", show_default=False)]

SHORT = 14
"""Characters of an id that are shown: its time in milliseconds and two more."""


def _named(mixture: str | None) -> str | None:
    return f"moa:{mixture}" if mixture and ":" not in mixture else mixture


def _store(config: Path | None) -> Store:
    from ...config.load import load
    from ...store.settings import chosen

    return chosen(load(config)[0].store)


@runs.callback(invoke_without_command=True)
def list_runs(
    context: typer.Context,
    mixture: Annotated[
        str | None, typer.Option("-m", "--mixture", metavar="NAME", help="Only runs of this mixture.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only runs since then: 2h, 7d, or a date such as 2026-11-20.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only runs that failed or were stopped.")] = False,
    search: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help='Only runs with these words in question or answer; prefix*, "a phrase".'),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number, the latest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigFile = None,
) -> None:
    if context.invoked_subcommand is not None:
        return
    from ...store.rows import listed, moment
    from ..terminal.run_rows import row

    after = moment(since) if since else None
    found = _store(config).runs(model=_named(mixture), since=after, failed=failed, limit=limit, search=search)
    if as_json:
        import json

        typer.echo(json.dumps([listed(run) for run in found], ensure_ascii=False, indent=2))
        return
    header = ("run", "when", "mixture", "state", "calls", "tokens", "cost", "time", "question")
    print_table(header, [(run.id[:SHORT], *row(run, sys.stdout.isatty())) for run in found])


@runs.command("show")
def show_run(
    run: Name = "last",
    messages: Annotated[bool, typer.Option("--messages", help="Show the messages sent to each model.")] = False,
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Show which proposals each sentence of the answer comes from.")
    ] = False,
    judge: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Have this model judge that instead of comparing words.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as one JSON object.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show a run: its calls as a tree with times, tokens, cost, retries and failures, and the answer."""
    from ...trace.tree import Trace

    store = _store(config)
    found = store.find(run)
    trace = Trace.of(store.events(found.id))
    traced = _traced(found, trace, judge, config) if provenance or judge else None
    if as_json:
        import json

        from ...store.rows import whole

        summary = whole(found, trace)
        if traced:
            summary["provenance"] = traced.as_json()
        typer.echo(json.dumps(summary, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.text import Text

    from ..terminal.run_page import shown

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for part in shown(found, trace, messages, console.width, traced):
        console.print(part, soft_wrap=not console.is_terminal and isinstance(part, str | Text))


def _traced(run: StoredRun, trace: Trace, judge: str | None, config: Path | None) -> Provenance:
    from ...provenance.attribution import answer_and_proposals, provenance_of_run

    if run.question is None:
        raise ConfigError(f"run {run.id} was stored without content, so its sources are unknown")
    if judge is None:
        return provenance_of_run(trace)
    import asyncio

    from ...api import get_builder
    from ...provenance.judge import judged

    builder = get_builder(config)
    download_weights(builder.config, judge)
    with event_sink(config) as emit:
        return asyncio.run(judged(*answer_and_proposals(trace), builder.model(judge), emit))


@runs.command("replay")
def replay_run(
    run: Name = "last",
    pace: Annotated[
        float | None,
        typer.Option(
            metavar="TIMES", min=0.01, help="Speed: 1 is the original one, 10 ten times as fast; default: at once."
        ),
    ] = None,
    proposals: Proposals = False,
    config: ConfigFile = None,
) -> None:
    """Show a run again as it was shown live."""
    import asyncio
    import time

    from ...trace.tree import Trace
    from ...trace.views import response_of
    from ..terminal.view import watch_again

    store = _store(config)
    found = store.find(run)
    events = store.events(found.id)
    trace = Trace.of(events)
    answer = response_of(trace.root) if trace.root and found.state == "answered" else None
    shown = create_view(proposals, clock=lambda: time.perf_counter() * (pace or 1.0))
    asyncio.run(watch_again(events, shown, answer, pace))
    if answer is None:
        typer.echo(f"{found.state}{f': {found.error}' if found.error else ''}", err=True)


@runs.command("rerun")
def rerun_run(
    run: Name = "last",
    aggregator: Annotated[str | None, typer.Option(metavar="MODEL", help="Use this model as the aggregator.")] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the aggregator's instruction, as prompt_file in moa.toml."),
    ] = None,
    without: Annotated[str | None, typer.Option(metavar="MODEL", help="Leave out this proposer.")] = None,
    layer: Annotated[int | None, typer.Option(min=1, help="Call the proposers of this layer again.")] = None,
    proposer: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Call this proposer again; with --layer only there.")
    ] = None,
    yes: Yes = False,
    proposals: Proposals = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as one JSON object at the end.")] = False,
    config: ConfigFile = None,
) -> None:
    """Rerun a stored run with a change, and pay only for the change.

    Unchanged proposals are taken from the stored run. The calls to make and their estimated cost are printed first.
    Without options, only the aggregator is called again.
    """
    import asyncio

    from ...api import get_builder
    from ...runs.rerun import Changes, Rerun
    from ...trace.tree import Trace
    from ..terminal.rerun_plan import planned
    from ..terminal.view import watch

    store = _store(config)
    found = store.find(run)
    if found.question is None:
        raise ConfigError(f"run {found.id} was stored without content, so it cannot be rerun")
    trace = Trace.of(store.events(found.id))
    builder = get_builder(config)
    again = Rerun(builder, trace, Changes(aggregator, _read(prompt) if prompt else None, without, layer, proposer))
    for line in planned(found, again.plan()):
        typer.echo(line, err=True)
    if not yes and can_confirm() and not confirm("Continue?"):
        raise typer.Exit(1)
    download_weights(builder.config, aggregator or found.model)
    with event_sink(config) as emit:
        asyncio.run(watch(again.model(), again.request, create_view(proposals, as_json), emit))


def _read(prompt: Path) -> str:
    try:
        return prompt.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{prompt}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


@runs.command("diff")
def compare_runs(
    one: Annotated[str, typer.Argument(metavar="RUN", help="The beginning of a run id, or last.", show_default=False)],
    other: Annotated[str, typer.Argument(metavar="RUN", help="The run to compare it with.", show_default=False)],
    config: ConfigFile = None,
) -> None:
    """Compare two runs: answers word by word, calls, cost and time.

    [-Words-] are only in the first answer, {+words+} only in the second.
    """
    from rich.console import Console

    from ...runs.compare import compare_answers
    from ...trace.tree import Trace
    from ..terminal.diff import diff_text, figures

    store = _store(config)
    found = [store.find(name) for name in (one, other)]
    traces = [Trace.of(store.events(run.id)) for run in found]
    Console(highlight=False).print(diff_text(compare_answers(*traces)), soft_wrap=not sys.stdout.isatty())
    typer.echo()
    header = ("", *(run.id[:SHORT] for run in found))
    print_table(header, figures(list(zip(found, traces, strict=True))))


@runs.command("stats")
def show_stats(
    mixture: Annotated[
        str | None, typer.Option("-m", "--mixture", metavar="NAME", help="Only runs of this mixture.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only runs since that day: 7d, or a date such as 2026-11-20.")
    ] = None,
    by_day: Annotated[bool, typer.Option("--by-day", help="One row per day.")] = False,
    trace: Annotated[
        int, typer.Option(min=0, help="Number of further answers to trace to their proposals first.")
    ] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show statistics of each mixture and its models.

    Each mixture has a row for its whole runs, then one per model: calls, failures, time (median and 95th percentile),
    output tokens, cost, and the share of the answers that came from each proposer, as far as they were traced.
    """
    from ...store.rows import moment
    from ..terminal.stats import HEADER, row

    store = _store(config)
    if trace:
        store.trace_shares(trace, tell=print_error)
    found = store.figures(since=moment(since) if since else None, mixture=_named(mixture), by_day=by_day)
    if as_json:
        import json

        typer.echo(json.dumps([one.as_json() for one in found], ensure_ascii=False, indent=2))
        return
    print_table((*["day"] * by_day, *HEADER), [(*[one.day or ""] * by_day, *row(one)) for one in found])


@runs.command("export")
def export_runs(
    names: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs to export; default: all.")] = None,
    config: ConfigFile = None,
) -> None:
    """Print the events of runs as JSON lines, for moa runs import.

    When all runs are exported, damaged ones are skipped with a warning, and the exit code is 1.
    """
    from ...events import to_json

    store = _store(config)
    chosen: list[StoredRun] = [store.find(name) for name in names] if names else store.runs()[::-1]
    damaged = False
    for run in chosen:
        try:
            events = store.events(run.id)
        except StoreError as error:
            if names:
                raise
            damaged = True
            typer.echo(f"moa: {error}; skipped", err=True)
            continue
        sys.stdout.buffer.writelines(to_json(event) + b"\n" for event in events)
    sys.stdout.buffer.flush()
    if damaged:
        raise typer.Exit(1)


@runs.command("import")
def import_runs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of JSON lines; - reads standard input.")],
    config: ConfigFile = None,
) -> None:
    """Import runs from JSON lines, as moa runs export and moa ask --jsonl print them."""
    with _store(config) as store:
        try:
            if str(file) == "-":
                new, known = store.take(sys.stdin.buffer)
            else:
                with file.open("rb") as lines:
                    new, known = store.take(lines)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    typer.echo(f"imported {new} run{'s' * (new != 1)}; {known} already stored", err=True)


@runs.command("purge")
def purge_runs(
    max_age_days: Annotated[float | None, typer.Option(min=0, help="Delete runs older than this.")] = None,
    max_size_mb: Annotated[float | None, typer.Option(min=0, help="Delete the oldest runs beyond this size.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete every run.")] = False,
    config: ConfigFile = None,
) -> None:
    """Permanently delete runs and cached answers, except runs in progress."""
    if everything == (max_age_days is not None or max_size_mb is not None):
        raise ConfigError("no runs selected; use --max-age-days, --max-size-mb, or --all")
    from ...store.cache import SQLiteCache
    from ...store.settings import answers_beside

    store = _store(config)
    gone = store.purge(days=max_age_days, megabytes=max_size_mb)
    answers = SQLiteCache(answers_beside(store)).purge(days=max_age_days, megabytes=max_size_mb)
    more = f" and {answers} cached answer{'s' * (answers != 1)}" if answers else ""
    typer.echo(f"deleted {gone} run{'s' * (gone != 1)}{more}", err=True)
