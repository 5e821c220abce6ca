"""The store returns exactly the emitted events, whatever they are and whatever other processes write."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import moa
from helpers.store import BLUE, PANEL, QUESTION, RED, ask, panel, rows, run_id
from moa import (
    Event,
    Message,
    Note,
    Request,
    Response,
    Scripted,
    SpanEnd,
    SpanStart,
    Store,
    StoreError,
    TextDelta,
    Usage,
)
from moa.events import VERSION
from moa.notes import Retry, UnknownNote
from moa.store import aggregates
from moa.store.encoding import Recorded, events, shortened
from moa.store.migrations import MIGRATIONS, connected
from moa.store.reader import StoredRun
from moa.store.texts import whole
from moa.store.writer import BACKLOG


@dataclass(frozen=True)
class Stumbles:
    """A model that writes half of its words twice."""

    name: str = "stumbles"

    async def generate(self, request: Request, span: moa.Span) -> Response:
        span.text("hm ", "reasoning")
        span.text(BLUE[:20])
        span.note(Retry(1, 0, "cut"))
        for word in BLUE.split(" "):
            span.text(word + " ")
        return Response(self.name, BLUE + " ")


def content(folder: Path) -> bytes:
    """Return the bytes of all files in a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_run_comes_back_as_it_was_emitted(tmp_path: Path) -> None:
    nested = panel(PANEL, Stumbles(), Scripted("c", moa.ModelError("c: HTTP 500: on fire")))
    with Store(tmp_path / "runs.sqlite") as store:
        emitted = await ask(store, nested)
        other = await ask(store)
        assert store.events(run_id(emitted)) == emitted
        assert store.events(run_id(other)) == other


async def test_a_list_of_runs_tells_how_each_went(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        good, bad = await ask(store), await ask(store, panel(Scripted("c", moa.ModelError("c: HTTP 500: on fire"))))
        first, second = store.find(run_id(good)), store.find(run_id(bad))
        assert isinstance(good[0], SpanStart) and good[0].started_at
        assert first == StoredRun(
            run_id(good),
            good[0].started_at,
            "panel",
            "answered",
            QUESTION.question[:200],
            seconds=good[-1].time,
            first_word=next(event.time for event in good if isinstance(event, TextDelta) and event.answer),
            calls=3,
            lost=0,
            usage=Usage(10, 5, None),
        )
        assert (second.id, second.state, second.lost) == (run_id(bad), "failed", 1)
        assert second.error and "on fire" in second.error
        assert store.runs(failed=True) == [second] and len(store.runs(limit=1)) == 1
        assert store.runs(model="other") == [] and store.runs(since=time.time()) == []
        assert store.find(first.id[:-1]) == first


texts = st.text(max_size=12) | st.builds(lambda text, n: text * n, st.text(min_size=1, max_size=40), st.integers(1, 20))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("#ab", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def a_run(draw: st.DrawFn) -> list[Event]:
    """Any run: some calls whose words, notes and ends come in any order."""
    shared = draw(st.lists(texts, min_size=1, max_size=3))
    phrases = st.sampled_from(shared) | st.lists(st.sampled_from(shared), min_size=2, max_size=3).map(" and ".join)
    time = st.floats(0, 1e6)
    requests = st.builds(
        lambda text, extra: Request((Message("user", f"?{text}"),), extra={"it": extra}), phrases, values
    )
    run: list[Event] = [
        SpanStart("run", "0", 0.0, "root", "m", request=draw(requests), started_at=1.5, version=VERSION)
    ]
    spans = ["0"]
    for number in range(1, draw(st.integers(1, 4))):
        spans.append(str(number))
        run.append(SpanStart("run", str(number), draw(time), "proposer", "a", "0", 1, 0, request=draw(requests)))
    so_far: dict[str, str] = {}
    for _ in range(draw(st.integers(0, 12))):
        span = draw(st.sampled_from(spans))
        match draw(st.sampled_from(["words", "words", "thought", "note", "retry"])):
            case "words":
                word = draw(phrases)
                so_far[span] = so_far.get(span, "") + word
                run.append(TextDelta(span, draw(time), word, answer=draw(st.booleans())))
            case "thought":
                run.append(TextDelta(span, draw(time), draw(phrases), "reasoning"))
            case "note":
                run.append(Note(span, draw(time), UnknownNote("acme.seen", {"it": draw(values)})))
            case _:
                so_far.pop(span, None)
                run.append(Note(span, draw(time), Retry(1, 0.0, draw(phrases))))
    for span in reversed(spans):
        text = draw(st.sampled_from([so_far.get(span, ""), None]) | phrases)
        run.append(
            SpanEnd(span, draw(time), draw(st.none() | texts), text, usage=draw(st.none() | st.just(Usage(1, 2))))
        )
    return run


@settings(deadline=None)
@given(a_run(), st.lists(st.integers(0, 30), max_size=4), st.booleans())
def test_any_run_comes_back_wherever_it_was_cut_into_pieces(run: list[Event], cuts: list[int], shorter: bool) -> None:
    start = run[0]
    assert isinstance(start, SpanStart)
    recorded = Recorded(start, kept=True)
    stored: dict[str, tuple[str, bool]] = {}
    records = []
    for place, event in enumerate(run):
        recorded.add(event)
        if place in cuts or place == len(run) - 1:
            records += orjson.loads(orjson.dumps(recorded.pieces()))
            stored |= recorded.texts.new
            recorded.written()
    long_texts = whole(stored)
    assert list(events(shortened(records, long_texts) if shorter else records, long_texts)) == run


@settings(deadline=None)
@given(a_run())
def test_of_a_run_whose_words_are_not_kept_nothing_but_their_length_is(run: list[Event]) -> None:
    start = run[0]
    assert isinstance(start, SpanStart)
    recorded = Recorded(start, kept=False)
    for event in run:
        recorded.add(event)
    records = orjson.loads(orjson.dumps(recorded.pieces()))
    assert recorded.texts.new == {}
    back = list(events(records, {}))
    assert [(type(event), event.span, event.time) for event in back] == [
        (type(event), event.span, event.time) for event in run
    ]
    for was, now in zip(run, back, strict=True):
        if isinstance(was, (TextDelta, SpanEnd)) and isinstance(now, (TextDelta, SpanEnd)):
            assert (None if now.text is None else set(now.text) - {"."}, len(now.text or "")) == (
                None if was.text is None else set(),
                len(was.text or ""),
            )


async def test_a_text_is_kept_once_whichever_runs_and_messages_it_stands_in(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        for _ in range(3):
            await ask(store)
    assert content(tmp_path).count(RED.encode()) == 1


async def test_without_text_only_the_shape_is_kept(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite", text=False) as store:
        emitted = await ask(store, panel(*PANEL.layers[0].proposers, Scripted("c", moa.ModelError("c: secret"))))
        back = store.events("last")
        (run,) = store.runs()
    bytes_kept = content(tmp_path)
    assert not [word for word in (b"sky", b"scatter", b"Weigh", b"secret") if word in bytes_kept]
    assert [(type(event), event.span, event.time) for event in back] == [
        (type(event), event.span, event.time) for event in emitted
    ]
    ends = [(event.text or "", event.usage) for event in emitted if isinstance(event, SpanEnd)]
    assert [(event.text, event.usage) for event in back if isinstance(event, SpanEnd)] == [
        ("." * len(text) if text else None, usage) for text, usage in ends
    ]
    assert (run.question, run.error, run.calls, run.lost) == (None, None, 4, 1)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with Store(tmp_path / "state" / "moa" / "runs.sqlite") as store:
        store.emit(SpanStart("r", "s", 0.0, "root", "m", request=QUESTION, started_at=1.0, version=VERSION))
        store.flush()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()}
        assert len(modes) == 4 and set(modes.values()) == {0o600}, modes
        assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


async def test_a_run_that_goes_on_is_running_and_one_that_was_left_is_unfinished(tmp_path: Path) -> None:
    start = SpanStart("r1", "s1", 0.0, "root", "m", request=QUESTION, started_at=1.0, version=VERSION)
    with Store(tmp_path / "runs.sqlite") as store:
        store.emit(start)
        store.emit(TextDelta("s1", 0.5, "Because", answer=True))
        assert [run.state for run in store.runs()] == ["running"]
        assert store.events("r1") == [start, TextDelta("s1", 0.5, "Because", answer=True)]
    assert [run.state for run in store.runs()] == ["unfinished"]


WRITES = """
import asyncio, sys, moa
from moa import Message, Request, Scripted, Store
layer = moa.Layer((Scripted("a", "red " * 30), Scripted("b", "blue " * 30)))
model = moa.Mixture((layer,), moa.Synthesize(Scripted("j", "so " * 30)))
async def main():
    with Store(sys.argv[1]) as store:
        for number in range(40):
            await moa.generate(model, Request((Message("user", f"{sys.argv[2]} asks {number}"),)), store.emit, "all")
        assert store.flush() and store.problem is None
asyncio.run(main())
"""


def test_several_processes_write_to_one_store(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITES, str(path), name]) for name in ("ann", "bob", "cid")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    runs = Store(path).runs()
    assert {run.question for run in runs} == {f"{who} asks {n}" for who in ("ann", "bob", "cid") for n in range(40)}
    assert {run.state for run in runs} == {"answered"}
    assert all(isinstance(Store(path).events(run.id)[-1], SpanEnd) for run in runs)


async def test_the_runs_of_one_owner_are_listed_without_those_of_others(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        for run, owner in (("r1", "ann"), ("r2", "bob"), ("r3", None)):
            store.emit(SpanStart(run, run, 0.0, "root", "m", request=QUESTION, started_at=1.0, version=VERSION), owner)
            store.emit(SpanEnd(run, 1.0, text="blue"), owner)
        assert [(run.id, run.owner) for run in store.runs()] == [("r3", None), ("r2", "bob"), ("r1", "ann")]
        assert [run.id for run in store.runs(owner="ann")] == ["r1"]


async def test_an_older_store_is_brought_up_to_date_and_kept_beside_as_it_was(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        emitted = await ask(store)
    connected(
        store.path, (*MIGRATIONS, "ALTER TABLE runs ADD COLUMN colour TEXT; UPDATE runs SET colour = 'red'")
    ).close()
    assert rows(store.path, "SELECT id, colour FROM runs") == [(run_id(emitted), "red")]
    assert Store(tmp_path / f"runs.sqlite.version-{len(MIGRATIONS)}").events("last") == emitted


def test_of_several_that_bring_a_store_up_to_date_at_once_each_finds_it_saved_as_it_was(tmp_path: Path) -> None:
    newer = (*MIGRATIONS, "ALTER TABLE runs ADD COLUMN colour TEXT")
    for name in map(str, range(10)):
        connected(tmp_path / name).close()
        with ThreadPoolExecutor(8) as several:
            for db in several.map(lambda _, path=tmp_path / name: connected(path, newer), range(8)):
                db.close()
        saved = connected(tmp_path / f"{name}.version-{len(MIGRATIONS)}")
        assert saved.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        saved.close()


async def test_a_newer_store_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    connected(path, (*MIGRATIONS, "CREATE TABLE more (it TEXT)")).close()
    before = path.read_bytes()
    messages: list[str] = []
    store = Store(path, tell=messages.append)
    await ask(store)
    await ask(store)
    store.close()
    assert len(messages) == 1 and "written by a newer moa" in messages[0] and path.read_bytes() == before
    with pytest.raises(StoreError, match="written by a newer moa"):
        store.runs()


@pytest.mark.parametrize("damage", ["no database at all", "a page"])
async def test_a_damaged_store_is_reported_and_left_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "runs.sqlite"
    with Store(path) as store:
        await ask(store)
    whole_file = path.read_bytes()
    path.write_bytes(
        b"once upon a time" * 500 if damage[0] == "n" else whole_file[:4096] + b"\xff" * (len(whole_file) - 4096)
    )
    before = path.read_bytes()
    messages: list[str] = []
    store = Store(path, tell=messages.append)
    await ask(store)
    store.close()
    assert len(messages) == 1 and "is damaged" in messages[0] and "left as it is" in messages[0]
    assert path.read_bytes() == before
    with pytest.raises(StoreError, match="is damaged"):
        store.runs()


async def test_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE songs (name TEXT)")
    db.commit()
    db.close()
    messages: list[str] = []
    with Store(path, tell=messages.append) as store:
        await ask(store)
    assert messages == [f"{path} is a database of another program; name another file with MOA_STORE"]


async def test_what_is_no_unicode_loses_its_own_run_alone(tmp_path: Path) -> None:
    messages: list[str] = []
    with Store(tmp_path / "runs.sqlite", tell=messages.append) as store:
        start = SpanStart("r1", "s1", 0.0, "root", "m", request=QUESTION, started_at=1.0, version=VERSION)
        store.emit(start)
        store.emit(TextDelta("s1", 0.5, "half a pair: \ud800"))
        emitted = await ask(store)
        store.emit(SpanEnd("s1", 1.0, text="so"))
        assert store.events(run_id(emitted)) == emitted
        assert len(messages) == 1 and messages[0].startswith("an event of run r1 cannot be stored")


async def test_a_store_that_can_be_written_again_is(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.write_text("in the way", "utf-8")
    messages: list[str] = []
    with Store(folder / "runs.sqlite", tell=messages.append) as store:
        await ask(store)
        store.flush()
        assert store.problem and len(messages) == 1
        folder.unlink()
        emitted = await ask(store)
        assert store.events("last") == emitted and store.problem is None


async def test_runs_go_from_store_to_store_as_lines(tmp_path: Path) -> None:
    with Store(tmp_path / "one.sqlite") as one, Store(tmp_path / "two.sqlite") as two:
        emitted = await ask(one), await ask(one, panel(Stumbles()))
        lines = [moa.events.to_json(event) for run in emitted for event in run]
        assert two.take(lines) == (2, 0)
        assert two.take(lines) == (0, 2)
        assert [two.events(run_id(run)) for run in emitted] == [*emitted]
        assert two.runs() == one.runs()


def test_lines_that_are_no_run_are_refused_by_their_number(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs.sqlite")
    start = moa.events.to_json(SpanStart("r", "s", 0.0, "root", "m", request=QUESTION, version=VERSION))
    newer = moa.events.to_json(SpanStart("r", "s", 0.0, "root", "m", request=QUESTION, version=VERSION + 1))
    for lines, wrong in (
        ([start, b"{}"], "line 2 is no event"),
        ([moa.events.to_json(TextDelta("other", 0.0, "hi"))], "line 1 belongs to no run"),
        ([b"", newer], "line 2: the run was stored by a newer moa"),
    ):
        with pytest.raises(StoreError, match=wrong):
            store.take(lines)
    assert not store.path.exists()


def test_a_missing_run_is_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs.sqlite")
    with pytest.raises(StoreError, match="no runs are stored yet"):
        store.runs()
    with store:
        for run in ("ab1", "ab2"):
            store.emit(SpanStart(run, run, 0.0, "root", "m", request=QUESTION, started_at=1.0, version=VERSION))
        with pytest.raises(StoreError, match="several runs begin with 'ab'; say more of the id: ab1 or ab2"):
            store.find("ab")
        with pytest.raises(StoreError, match="no run 'cd'; list them with: moa runs"):
            store.find("cd")


def test_a_whole_id_is_one_run_also_where_another_begins_with_it(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        for run in ("ab", "abc"):
            store.emit(SpanStart(run, run, 0.0, "root", "m", request=QUESTION, started_at=1.0, version=VERSION))
        assert [store.find(run).id for run in ("ab", "abc")] == ["ab", "abc"]


def test_a_run_that_exceeds_the_backlog_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # prevents a folder of this name
    messages: list[str] = []
    busy, go = threading.Event(), threading.Event()

    def tell(problem: str) -> None:
        messages.append(problem)
        busy.set()
        go.wait(60)

    with Store(tmp_path / "file" / "runs.sqlite", tell=tell) as store:
        store.emit(SpanStart("first", "1", 0.0, "root", "m", request=QUESTION, started_at=1.0, version=VERSION))
        store.emit(SpanEnd("1", 1.0, text="It is.", usage=Usage(1, 1)))
        assert busy.wait(60)
        for word in [TextDelta("2", 0.0, "word")] * (BACKLOG + 1):
            store.emit(word)
        store.emit(SpanStart("late", "3", 0.0, "root", "m", request=QUESTION, started_at=2.0, version=VERSION))
        go.set()
        assert store.flush(60)
    assert "run late is not stored: 500,000 events wait" in messages[-1]


# --- migrations -------------------------------------------------------------------------------------------------------


def schema(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the columns of each table and the indexes of a database, in a form that does not depend on white space."""
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master ORDER BY name")]
        return {name: db.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)).fetchall() for name in names}


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_store_upgraded_from_any_version_has_the_schema_of_a_new_one(version: int, tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    connected(old, MIGRATIONS[:version], derived={}).close()
    for path in (old, new):
        connected(path).close()
    assert schema(old) == schema(new)


def test_migrations_are_sql_alone_so_that_no_later_code_changes_them() -> None:
    assert all(isinstance(step, str) for step in MIGRATIONS)


def test_the_columns_that_count_calls_are_those_of_the_schema(tmp_path: Path) -> None:
    connected(tmp_path / "new.sqlite").close()
    columns = [str(row[1]) for row in schema(tmp_path / "new.sqlite")["series"]]
    assert columns[6:] == list(aggregates.COLUMNS)
