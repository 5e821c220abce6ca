"""Statistics of models in stored runs: answers, times and cost."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import moa
from helpers.command import configured
from helpers.command import moa as command
from helpers.store import damage
from helpers.upstream import Reply, Upstream
from moa import (
    Cached,
    Event,
    Fallback,
    Layer,
    Message,
    Mixture,
    ModelError,
    Request,
    Scripted,
    Store,
    Synthesize,
    Usage,
)
from moa.events import SpanStart
from moa.store.rows import moment
from moa.store.stats import Figures

REQUEST = Request((Message("user", "Which colour is the sky?"),))
SKY, GRASS = "The sky is blue, as short waves scatter more.", "Grass is green because of its chlorophyll."


def panel(*proposers: moa.Model, big: moa.Model | None = None) -> Mixture:
    return Mixture((Layer(proposers),), Synthesize(big or Scripted("big", SKY, usage=Usage(40, 8, 0.01))), "panel")


def by_model(store: Store, **conditions: Any) -> dict[tuple[str, str], Figures]:
    return {(one.role, one.model): one for one in store.figures(**conditions)}


def without_figures(path: Path) -> None:
    """Downgrade a store to version 3."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in (
            "DROP TABLE calls",
            "DROP TABLE spreads",
            "DROP TABLE series",
            "DROP INDEX runs_unanswered",
            "DROP INDEX runs_untraced",
            "ALTER TABLE runs DROP COLUMN traced",
            "PRAGMA user_version = 3",
        ):
            db.execute(statement)


async def test_every_call_is_counted_for_its_model(tmp_path: Path) -> None:
    a = Scripted("a", SKY, usage=Usage(10, 20, 0.001))
    b = Scripted("b", [GRASS, ModelError("b: busy"), GRASS], usage=Usage(10, 6, None))
    with Store(tmp_path) as store:
        for _ in range(3):
            await moa.generate(panel(a, b), REQUEST, store.emit)
        found = by_model(store)
        counts = {key: (one.counts.calls, one.counts.lost, one.counts.made) for key, one in found.items()}
        assert counts == {
            ("root", "panel"): (3, 0, 3),
            ("proposer", "a"): (3, 0, 3),
            ("proposer", "b"): (3, 1, 2),
            ("aggregator", "big"): (3, 0, 3),
        }
        assert [one.role for one in store.figures()] == ["root", "proposer", "proposer", "aggregator"]
        a_s, b_s, root = found["proposer", "a"], found["proposer", "b"], found["root", "panel"]
        assert (a_s.counts.input_tokens, a_s.counts.output_tokens, a_s.cost) == (30, 60, pytest.approx(0.003))
        assert b_s.cost is None and root.cost is None  # one price is unknown
        assert root.counts.output_tokens == 60 + 12 + 24


async def test_times_are_precise_to_a_twentieth_and_first_words_count_only_streamed_calls(tmp_path: Path) -> None:
    events: list[Event] = []
    await moa.generate(panel(Scripted("a", SKY)), REQUEST, events.append, "all")
    with Store(tmp_path) as store:
        for seconds in range(1, 101):  # the same run, with increasing times
            for number, event in enumerate(events):  # at even intervals
                named = {"run": f"{seconds:032x}"} if isinstance(event, SpanStart) else {}
                time = seconds * number / (len(events) - 1)
                store.emit(replace(event, time=time, **named))  # type: ignore[arg-type]
            store.flush()
        (root,) = (one for one in store.figures() if one.role == "root")
        assert root.seconds and root.first_word and root.seconds.calls == 100
        for percent, fields in ((10, root.seconds.p10), (50, root.seconds.p50), (95, root.seconds.p95)):
            assert abs(math.log(fields / percent)) < 0.05
        assert root.first_word.p50 < root.seconds.p50


async def test_what_was_remembered_says_nothing_of_time_and_tokens(tmp_path: Path) -> None:
    cached = Cached(Scripted("a", SKY, usage=Usage(10, 20, 0.001)))
    with Store(tmp_path) as store:
        for _ in range(3):
            await moa.generate(panel(cached), REQUEST, store.emit)
        one = by_model(store)["proposer", "a"]
        assert (one.counts.calls, one.counts.cached, one.counts.made) == (3, 2, 1)
        assert one.seconds and one.seconds.calls == 1


async def test_a_spare_counts_as_the_model_it_stands_in_for_and_a_nested_mixture_as_a_proposer(tmp_path: Path) -> None:
    chain = Fallback((Scripted("first", ModelError("first: no")), Scripted("spare", SKY)))
    inner = replace(panel(Scripted("a", SKY)), name="inner")
    with Store(tmp_path) as store:
        await moa.generate(panel(inner, big=chain), REQUEST, store.emit)
        assert [(one.mixture, one.role, one.model) for one in store.figures()] == [
            ("inner", "proposer", "a"),
            ("inner", "aggregator", "big"),
            ("panel", "root", "panel"),
            ("panel", "proposer", "inner"),
            ("panel", "aggregator", "first"),
        ]


async def test_a_share_is_how_much_of_the_answers_came_from_a_proposer(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for big in (SKY, SKY, f"{SKY} {GRASS}"):
            await moa.generate(
                panel(Scripted("a", SKY), Scripted("b", GRASS), big=Scripted("big", big)), REQUEST, store.emit
            )
        assert by_model(store)["proposer", "a"].share is None
        assert (store.trace_shares(2), store.trace_shares(5), store.trace_shares(5)) == (2, 1, 0)
        found = by_model(store)
        half = len(SKY) / len(f"{SKY}{GRASS}")
        assert found["proposer", "a"].share == pytest.approx((2 + half) / 3, abs=0.01)
        assert found["proposer", "b"].share == pytest.approx((1 - half) / 3, abs=0.01)
        assert (found["proposer", "a"].counts.shared, found["aggregator", "big"].share) == (3, None)


async def test_runs_that_are_removed_are_subtracted(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        await moa.generate(panel(Scripted("a", SKY, usage=Usage(10, 20, 0.5))), REQUEST, store.emit, "all")
        before = store.figures()
        await moa.generate(panel(Scripted("a", SKY, usage=Usage(1, 2, 0.25)), Scripted("c", SKY)), REQUEST, store.emit)
        store.trace_shares(1)
        store.remove("last")
        assert store.figures() == before
        assert store.purge() == 1 and store.figures() == []
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as db:
        left = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("series", "spreads", "calls")]
    assert left == [0, 0, 0]


async def test_figures_are_of_a_day_a_mixture_an_owner(tmp_path: Path) -> None:
    events: list[Event] = []
    await moa.generate(panel(Scripted("a", SKY)), REQUEST, events.append)
    days = ("2026-01-01", "2026-01-01", "2026-01-02")
    moments = [moment(f"{day}T12:00:00") for day in days]
    with Store(tmp_path) as store:
        for number, began in enumerate(moments):
            for event in events:
                if isinstance(event, SpanStart):
                    event = replace(event, run=f"{number:032x}", started_at=began if event.parent is None else None)
                store.emit(event, owner="someone" if number else None)
            store.flush()
        roots = [one for one in store.figures(by_day=True) if one.role == "root"]
        assert [(one.day, one.counts.calls) for one in roots] == [("2026-01-01", 2), ("2026-01-02", 1)]
        assert by_model(store, since=moments[2])["root", "panel"].counts.calls == 1
        assert by_model(store, owner="someone")["root", "panel"].counts.calls == 2
        assert by_model(store, mixture="other") == {}


async def test_a_store_from_before_there_were_figures_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with Store(path) as store:
        for _ in range(3):
            await moa.generate(panel(Scripted("a", SKY, usage=Usage(1, 2, 0.5))), REQUEST, store.emit, "all")
        before = store.figures()
    without_figures(path)
    with Store(path) as store:
        assert store.figures() == before


def test_moa_runs_figures() -> None:
    says = {"a": SKY, "b": Reply("no", status=500), "big": SKY}
    with Upstream(says) as upstream:
        configured(upstream)
        for _ in range(2):
            assert command("ask", "Which colour is the sky?").returncode == 0
    rows = [line.split("\t") for line in command("runs", "stats").stdout.splitlines()]
    assert [(row[:5], row[-1]) for row in rows] == [
        (["moa:panel", "", "", "2", ""], ""),
        (["moa:panel", "proposer", "lab:a", "2", ""], "100%"),
        (["moa:panel", "proposer", "lab:b", "2", "2"], ""),
        (["moa:panel", "aggregator", "lab:big", "2", ""], ""),
    ]
    output = json.loads(command("runs", "stats", "--json", "--by-day", "-m", "panel", "--since", "1d").stdout)
    assert [(one["role"], one["calls"], one["lost"]) for one in output] == [
        ("root", 2, 0),
        ("proposer", 2, 0),
        ("proposer", 2, 2),
        ("aggregator", 2, 0),
    ]
    assert output[1]["share"] == 1.0 and output[1]["seconds"]["p50"] > 0


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE chunks SET body = '[{' WHERE run = 1", "cannot be read"),
        ("DELETE FROM chunks WHERE run = 1", "events are missing"),
        ("DELETE FROM uses WHERE run = 1", "cannot be read"),
    ],
)
async def test_a_damaged_run_is_reported_once_and_the_figures_of_all_stand(statement: str, wrong: str) -> None:
    long = f"{SKY} {SKY}"
    with Store() as store:
        for _ in range(2):
            await moa.generate(panel(Scripted("a", long), big=Scripted("big", long)), REQUEST, store.emit)
    damage(store.path, statement)
    first, second = command("runs", "stats"), command("runs", "stats")
    assert [line.split("\t")[3] for line in first.stdout.splitlines()] == ["2", "2", "2"]
    assert first.stdout.splitlines()[1].endswith("\t100%") and first.stdout == second.stdout
    assert wrong in first.stderr and first.stderr.startswith("moa: ") and first.stderr.count("\n") == 1
    assert (first.returncode, second.stderr) == (0, "")


async def test_a_name_that_a_client_made_up_is_one_cell() -> None:
    with Store() as store:
        await moa.generate(Scripted("lab:a\tb\n\x1b[2J", SKY), REQUEST, store.emit)
    for words, columns in ((["runs"], 9), (["runs", "stats"], 11)):
        (line,) = command(*words).stdout.splitlines()
        assert (line.count("\t") + 1, "lab:a b [2J" in line) == (columns, True)
