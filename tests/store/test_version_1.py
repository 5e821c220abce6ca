"""A store written before version 2 of the events opens, and everything can be read from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import moa
from helpers.command import configured
from helpers.command import moa as command
from helpers.upstream import Upstream
from moa import Message, Note, Request, Response, Scripted, SpanStart, Store, Usage
from moa.events import Role, to_json
from moa.notes import KINDS, UnknownNote
from moa.store.cache import SQLiteCache
from moa.store.reader import StoredRun
from moa.trace.tree import Trace

FILES = Path(__file__).parent / "version_1"
TOML = """
[mixtures.inner]
proposers = ["lab:a", "lab:flaky"]
aggregator = "lab:b"
[mixtures.panel]
layers = [["lab:a", "lab:gone", "moa:inner"], ["lab:b", "lab:thinker"]]
aggregator = "lab:big"
"""
STATES = {"failed": "failed", "stopped": "stopped"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of the store, upgraded by opening it."""
    path = tmp_path / "runs.sqlite"
    shutil.copy(FILES / "runs.sqlite", path)
    monkeypatch.setenv("MOA_STORE", str(path))
    return Store(path)


@pytest.fixture
def panel(store: Store) -> Iterator[tuple[StoredRun, Upstream]]:
    """The first run of the store, and the provider of its mixture."""
    with Upstream({"big": "blue it is", "a": "red", "b": "grey"}) as upstream:
        configured(upstream, TOML)
        yield store.runs()[-1], upstream


def json_of(*words: str) -> Any:
    done = command(*words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_its_runs_are_listed(store: Store) -> None:
    runs = store.runs()
    assert len(runs) == 25
    assert {run.model: run.state for run in runs if run.state != "answered"} == STATES
    assert [run.model for run in runs[:2]] == ["wordless", "alone"]
    first, again = runs[-1], runs[-2]
    assert (first.model, again.model, again.parent) == ("moa:panel", "moa:panel", first.id)
    assert (first.lost, first.usage) == (1, Usage(120, 36, first.usage and first.usage.cost))
    assert [run["id"] for run in json_of("runs", "--json", "--limit", "100")] == [run.id for run in runs]
    assert {run.model for run in store.runs(search="scatters")} >= {"moa:panel"}


@pytest.mark.parametrize("model", ["moa:panel", "stairs", "troubles", "formed", "failed", "stopped", "wordless"])
def test_its_runs_are_shown_and_replayed(store: Store, model: str) -> None:
    run = store.runs(model=model)[-1]
    shown = json_of("runs", "show", "--json", run.id)
    assert (shown["run"], shown["state"]) == (run.id, run.state)
    page = command("runs", "show", run.id).stdout
    assert all(call.start.model in page for call in Trace.of(store.events(run.id)).calls)
    replayed = command("runs", "replay", run.id)
    assert replayed.returncode == 0, replayed.stderr
    if run.state == "answered" and run.question is not None:
        assert shown["answer"] and shown["answer"] in replayed.stdout


def test_what_it_exports_is_what_an_older_export_says(store: Store, tmp_path: Path) -> None:
    taken = Store(tmp_path / "taken.sqlite")
    with taken, (FILES / "runs.jsonl").open("rb") as lines:
        assert taken.take(lines) == (24, 0)
    for run in taken.runs():
        assert taken.events(run.id) == store.events(run.id)
    exported = command("runs", "export").stdout.splitlines()
    events = [event for run in store.runs()[::-1] for event in store.events(run.id)]
    assert exported == [to_json(event).decode() for event in events]


def test_two_of_its_runs_are_compared(store: Store) -> None:
    first, again = store.runs()[-1], store.runs()[-2]
    compared = command("runs", "diff", first.id, again.id)
    assert compared.returncode == 0, compared.stderr
    rows = {row[0]: row[1:] for row in (line.split("\t") for line in compared.stdout.splitlines()) if len(row) == 3}
    assert rows["calls"] == [str(first.calls), str(again.calls)]


def test_one_of_its_runs_is_rerun_and_only_its_aggregator_is_called(panel: tuple[StoredRun, Upstream]) -> None:
    run, upstream = panel
    done = command("runs", "rerun", "--json", run.id)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"] == "blue it is"
    assert [call.model for call in upstream.calls] == ["big"]


async def test_its_remembered_answers_are_given_again(tmp_path: Path) -> None:
    shutil.copy(FILES / "calls.sqlite", tmp_path)
    model = Scripted("kept", moa.ModelError("must not be called"))
    with SQLiteCache(tmp_path / "calls.sqlite") as cache:
        request = Request((Message("user", "Which colour is the sky at night?"),), seed=7)
        answer = await moa.generate(moa.Cached(model, cache), request)
    assert answer == Response("kept", "Black.", Usage(cost=0.0), reasoning="No sun.")


def test_its_notes_and_roles_have_the_names_of_version_2(store: Store) -> None:
    events = [event for run in store.runs() for event in store.events(run.id)]
    kinds = {type(event.data) for event in events if isinstance(event, Note)}
    assert kinds == {*KINDS.values(), UnknownNote}
    assert [event.data for event in events if isinstance(event, Note) and isinstance(event.data, UnknownNote)] == [
        UnknownNote("acme.temperature", {"degrees": 21.5, "where": "engine room"})
    ]
    starts = [event for event in events if isinstance(event, SpanStart)]
    assert {start.role for start in starts} == set(get_args(Role)) and {start.version for start in starts} == {2, None}


def test_the_calls_of_its_runs_are_counted_as_those_of_later_runs(store: Store) -> None:
    assert {run.model: run.calls for run in store.runs()} | {"stopped": 1} == {
        run.model: len(Trace.of(store.events(run.id)).calls) for run in store.runs()
    }
