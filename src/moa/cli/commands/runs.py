"""`moa runs`: what was asked, read again."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigError, StoreError
from ..shared import ConfigFile, kept, table, told, view

if TYPE_CHECKING:
    from ...provenance.attribution import Provenance
    from ...store.reader import StoredRun
    from ...store.store import Store
    from ...trace.tree import Trace

runs = typer.Typer(help="Runs that are kept: list, show, replay, compare them.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="RUN", help="The beginning of its id, or last.", show_default=False)]

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
    mixture: Annotated[str | None, typer.Option("-m", "--mixture", metavar="NAME", help="Only of this one.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only since: 2h, 7d, or a date such as 2026-11-20.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed, were stopped or cut off.")] = False,
    search: Annotated[
        str | None, typer.Option(metavar="WORDS", help='Only with these in question and answer; begin*, "one phrase".')
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the latest.")] = 20,
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
    table(header, [(run.id[:SHORT], *row(run, sys.stdout.isatty())) for run in found])


@runs.command("show")
def show_run(
    run: Name = "last",
    messages: Annotated[bool, typer.Option("--messages", help="Show what each model was sent.")] = False,
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Show which proposals each sentence of the answer comes from.")
    ] = False,
    judge: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Let this model judge that, instead of comparing words.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as one JSON object.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show a run: its calls as a tree, with times, tokens, cost, retries and losses, and the answer."""
    from ...trace.tree import Trace

    store = _store(config)
    found = store.find(run)
    trace = Trace.of(store.events(found.id))
    traced = _traced(found, trace, judge, config) if provenance or judge else None
    if as_json:
        import json

        from ...store.rows import whole

        as_told = whole(found, trace)
        if traced:
            as_told["provenance"] = traced.as_json()
        typer.echo(json.dumps(as_told, ensure_ascii=False, indent=2))
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
        raise ConfigError(f"the words of run {run.id} were not kept, so nobody can say where they come from")
    if judge is None:
        return provenance_of_run(trace)
    import asyncio

    from ...api import get_builder
    from ...config.download import ensure
    from ...provenance.judge import judged

    builder = get_builder(config)
    ensure(builder.config, judge)
    with kept(config) as emit:
        return asyncio.run(judged(*answer_and_proposals(trace), builder.model(judge), emit))


@runs.command("replay")
def replay_run(
    run: Name = "last",
    pace: Annotated[
        float | None, typer.Option(metavar="TIMES", min=0.01, help="1 as it was, 10 ten times as quick; else at once.")
    ] = None,
    proposals: Annotated[bool, typer.Option("--proposals", help="Show every proposal before the answer.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show a run again as it was seen when it was asked."""
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
    shown = view(proposals, clock=lambda: time.perf_counter() * (pace or 1.0))
    asyncio.run(watch_again(events, shown, answer, pace))
    if answer is None:
        typer.echo(f"{found.state}{f': {found.error}' if found.error else ''}", err=True)


@runs.command("rerun")
def rerun_run(
    run: Name = "last",
    aggregator: Annotated[str | None, typer.Option(metavar="MODEL", help="Let this model write the answer.")] = None,
    prompt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instruction to the aggregator, as prompt_file in moa.toml.")
    ] = None,
    without: Annotated[str | None, typer.Option(metavar="MODEL", help="Leave out this proposer.")] = None,
    layer: Annotated[int | None, typer.Option(min=1, help="Ask the proposers of this layer anew.")] = None,
    proposer: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Ask this proposer anew, with --layer only there.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to go on.")] = False,
    proposals: Annotated[bool, typer.Option("--proposals", help="Show every proposal before the answer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object when the answer is there.")] = False,
    config: ConfigFile = None,
) -> None:
    """Make a run again with something changed, and pay only for that.

    Proposals of the stored run are used as they were; it is said which calls are made, and about what they cost.
    Without an option, the aggregator alone is asked anew.
    """
    import asyncio

    from ...api import get_builder
    from ...config.download import ensure
    from ...runs.rerun import Changes, Rerun
    from ...trace.tree import Trace
    from ..terminal.rerun_plan import planned
    from ..terminal.view import watch

    store = _store(config)
    found = store.find(run)
    if found.question is None:
        raise ConfigError(f"the words of run {found.id} were not kept, so it cannot be made again")
    trace = Trace.of(store.events(found.id))
    builder = get_builder(config)
    again = Rerun(builder, trace, Changes(aggregator, _read(prompt) if prompt else None, without, layer, proposer))
    for line in planned(found, again.plan()):
        typer.echo(line, err=True)
    if not yes and sys.stdin.isatty() and sys.stderr.isatty() and not typer.confirm("Go on?", default=True, err=True):
        raise typer.Exit(1)
    ensure(builder.config, aggregator or found.model)
    with kept(config) as emit:
        asyncio.run(watch(again.model(), again.request, view(proposals, as_json), emit))


def _read(prompt: Path) -> str:
    try:
        return prompt.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{prompt}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


@runs.command("diff")
def compare_runs(
    one: Annotated[str, typer.Argument(metavar="RUN", help="The beginning of its id, or last.", show_default=False)],
    other: Annotated[str, typer.Argument(metavar="RUN", help="The one to compare it with.", show_default=False)],
    config: ConfigFile = None,
) -> None:
    """Compare two runs: answers word by word, calls, cost and time.

    [-Words-] are only in the first answer, {+words+} only in the second.
    """
    from rich.console import Console

    from ...runs.compare import compare_answers
    from ...trace.tree import Trace
    from ..terminal.diff import figures, shown

    store = _store(config)
    found = [store.find(name) for name in (one, other)]
    traces = [Trace.of(store.events(run.id)) for run in found]
    Console(highlight=False).print(shown(compare_answers(*traces)), soft_wrap=not sys.stdout.isatty())
    typer.echo()
    header = ("", *(run.id[:SHORT] for run in found))
    table(header, figures(list(zip(found, traces, strict=True))))


@runs.command("stats")
def show_stats(
    mixture: Annotated[str | None, typer.Option("-m", "--mixture", metavar="NAME", help="Only of this one.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only since that day: 7d, or a date such as 2026-11-20.")
    ] = None,
    by_day: Annotated[bool, typer.Option("--by-day", help="Each day by itself.")] = False,
    trace: Annotated[int, typer.Option(min=0, help="Find out for so many more answers whose words they are.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigFile = None,
) -> None:
    """Say what each model gave, took and cost.

    For each mixture, its whole runs first: how many calls, how many gave no answer, how long they took (half of them,
    and 95 of 100, no longer than this), tokens written, cost, and which share of the answers came from a proposer, as
    far as they were traced.
    """
    from ...store.rows import moment
    from ..terminal.stats import HEADER, row

    store = _store(config)
    if trace:
        store.trace_shares(trace, tell=partial(told, code=0))
    found = store.figures(since=moment(since) if since else None, mixture=_named(mixture), by_day=by_day)
    if as_json:
        import json

        typer.echo(json.dumps([one.as_json() for one in found], ensure_ascii=False, indent=2))
        return
    table((*["day"] * by_day, *HEADER), [(*[one.day or ""] * by_day, *row(one)) for one in found])


@runs.command("export")
def export_runs(
    names: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="These; else all.")] = None,
    config: ConfigFile = None,
) -> None:
    """Print the events of runs, one JSON a line; moa runs import takes them in again. Of all runs, one that is damaged
    is left out, with a word and exit code 1."""
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
            typer.echo(f"moa: {error}; it is left out", err=True)
            continue
        sys.stdout.buffer.writelines(to_json(event) + b"\n" for event in events)
    sys.stdout.buffer.flush()
    if damaged:
        raise typer.Exit(1)


@runs.command("import")
def import_runs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines; - reads standard input.")],
    config: ConfigFile = None,
) -> None:
    """Take in the runs that were exported, here or elsewhere, or printed by moa ask --jsonl."""
    with _store(config) as store:
        try:
            if str(file) == "-":
                new, known = store.take(sys.stdin.buffer)
            else:
                with file.open("rb") as lines:
                    new, known = store.take(lines)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    typer.echo(f"took in {new} run{'s' * (new != 1)}; {known} were there already", err=True)


@runs.command("purge")
def purge_runs(
    max_age_days: Annotated[float | None, typer.Option(min=0, help="Delete runs older than this.")] = None,
    max_size_mb: Annotated[float | None, typer.Option(min=0, help="Delete the oldest runs beyond this size.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete every run.")] = False,
    config: ConfigFile = None,
) -> None:
    """Permanently delete runs and cached answers, except runs in progress."""
    if everything == (max_age_days is not None or max_size_mb is not None):
        raise ConfigError("say which runs to delete: --max-age-days, --max-size-mb, or --all")
    from ...store.cache import SQLiteCache
    from ...store.settings import answers_beside

    store = _store(config)
    gone = store.purge(days=max_age_days, megabytes=max_size_mb)
    answers = SQLiteCache(answers_beside(store)).purge(days=max_age_days, megabytes=max_size_mb)
    more = f" and {answers} remembered answer{'s' * (answers != 1)}" if answers else ""
    typer.echo(f"removed {gone} run{'s' * (gone != 1)}{more}", err=True)
