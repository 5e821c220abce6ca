"""Old, excess or unwanted runs are removed from a store, with all that only they used."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from helpers.store import BLUE, QUESTION, RED, ask, panel, rows, run_id
from moa import Scripted, SpanStart, Store, StoreError
from moa.events import VERSION
from moa.store.migrations import connected


def connected_size(path: Path) -> float:
    """Return the size of a store in megabytes."""
    ((count, size),) = rows(path, "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size")
    return float(count * size / 1e6)


async def test_old_runs_are_removed_with_the_texts_that_nobody_else_uses(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        first = await ask(store)
        second = await ask(store, panel(Scripted("a", RED)))
        assert store.purge(days=1) == 0
        rows_before = rows(store.path, "SELECT count(*) FROM texts")
        db = connected(store.path)
        db.execute("UPDATE runs SET started = started - 2 * 86400 WHERE id = ?", (run_id(first),))
        db.close()
        assert store.purge(days=1) == 1
        assert [run.id for run in store.runs()] == [run_id(second)]
        assert store.events(run_id(second)) == second
        kept = [body for (body,) in rows(store.path, "SELECT body FROM texts")]
        assert RED in kept and BLUE not in kept and (len(kept),) < rows_before[0]


async def test_the_oldest_go_when_all_take_too_much(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        for number in range(300):
            if number == 100:
                before = time.time()
            await ask(store, panel(Scripted("a", f"{number} {RED * 20}")))
        store.flush()
        size = connected_size(store.path)
        removed = store.purge(megabytes=size / 2)
        left = store.runs()
        assert 100 < removed < 200 and [run.question for run in left] == [QUESTION.question[:200]] * (300 - removed)
        assert connected_size(store.path) < size / 2
        assert min(run.started for run in left) > before


async def test_one_run_is_removed_with_what_only_it_used_and_not_while_it_goes_on(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        first = await ask(store)
        second = await ask(store, panel(Scripted("a", RED)))
        store.remove(run_id(first))
        assert [run.id for run in store.runs()] == [run_id(second)] and store.events(run_id(second)) == second
        assert BLUE not in [body for (body,) in rows(store.path, "SELECT body FROM texts")]
        with pytest.raises(StoreError, match="no run"):
            store.remove(run_id(first))
        store.emit(SpanStart("r1", "s1", 0.0, "root", "m", request=QUESTION, started_at=1.0, version=VERSION))
        with pytest.raises(StoreError, match="going on; stop it first"):
            store.remove("r1")


async def test_a_run_that_is_being_written_is_not_purged(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        store.emit(SpanStart("r1", "s1", 0.0, "root", "m", request=QUESTION, started_at=1.0, version=VERSION))
        await ask(store)
        assert store.purge() == 1
        assert [(run.id, run.state) for run in store.runs()] == [("r1", "running")]


async def test_a_store_removes_by_itself_what_is_too_old(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        await ask(store)
    db = connected(store.path)
    db.execute("UPDATE runs SET started = started - 2 * 86400")
    db.close()
    with Store(store.path, days=1) as store:
        emitted = await ask(store)
        assert [run.id for run in store.runs()] == [run_id(emitted)]
