"""Removes old runs: those older than a limit, then the oldest ones beyond a total size.

Runs in progress are never removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import aggregates, search, writer_lock
from .migrations import transaction

if TYPE_CHECKING:
    import sqlite3

EVERY = 3600.0
"""Seconds between two looks for runs to remove."""

PIECE = 200
"""Runs removed in one transaction, so that others who write need not wait long."""

DAY = 86_400.0

Remove = Callable[[str, object, int], int]
"""Removes at most this many of the oldest rows that match a condition; returns how many."""


@dataclass(frozen=True)
class Limits:
    """`days` is the maximum age of a run, `megabytes` (10**6 bytes) the maximum total size; `None` is no limit."""

    days: float | None = None
    megabytes: float | None = None


class Sweeper:
    """Removes runs beyond the limits, at most once an hour across processes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._next = 0.0

    def sweep(self, db: sqlite3.Connection, path: Path) -> None:
        """Remove runs if it is time."""
        if self._limits == Limits() or time.time() < self._next:
            return
        self._next = time.time() + EVERY
        last = db.execute("SELECT max(at) FROM swept").fetchone()[0] or 0.0
        if last + EVERY > time.time():
            return
        with transaction(db):
            db.execute("DELETE FROM swept")
            db.execute("INSERT INTO swept VALUES (?)", (time.time(),))
        mark_unfinished(db, path)
        purge(db, self._limits)


def purge(db: sqlite3.Connection, limits: Limits) -> int:
    """Remove the runs beyond the limits, free their space, and return their number."""
    return trim(db, limits, "runs", "started", partial(_remove, db))


def trim(db: sqlite3.Connection, limits: Limits, table: str, began: str, remove: Remove) -> int:
    """Remove the oldest rows of a table, by the column `began`, until it is within the limits."""
    removed = 0
    if limits.days is not None:
        since = time.time() - limits.days * DAY
        while gone := remove(f"{began} < ?", since, PIECE):
            removed += gone
    while limits.megabytes is not None and _megabytes(db) > limits.megabytes:
        (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        if not (gone := remove("?", True, min(PIECE, count // 10 + 1))):
            break
        removed += gone
    if removed:
        db.executescript("PRAGMA incremental_vacuum")  # which `execute` would do for one page
    return removed


def remove(db: sqlite3.Connection, run: str) -> None:
    """Remove the run with this id, also an unfinished one."""
    with transaction(db):
        for (number,) in db.execute("SELECT number FROM runs WHERE id = ?", (run,)).fetchall():
            _drop(db, number)
        aggregates.clear(db)


def mark_unfinished(db: sqlite3.Connection, path: Path) -> None:
    """Mark the runs whose process has ended."""
    writers = [name for (name,) in db.execute("SELECT DISTINCT writer FROM runs WHERE state = 'running'")]
    for name in writers:
        if not writer_lock.is_held(path, name):
            db.execute(
                "UPDATE runs SET state = 'unfinished', writer = NULL WHERE state = 'running' AND writer = ?", (name,)
            )


def _remove(db: sqlite3.Connection, which: str, value: object, most: int) -> int:
    """Remove at most this many of the oldest matching runs, and texts that no other run uses. Return their number."""
    chosen = f"SELECT number FROM runs WHERE state != 'running' AND {which} ORDER BY id LIMIT {most}"  # noqa: S608
    with transaction(db):
        runs = [number for (number,) in db.execute(chosen, (value,))]
        for number in runs:
            _drop(db, number)
        aggregates.clear(db)
    return len(runs)


def _drop(db: sqlite3.Connection, number: int) -> None:
    texts = db.execute("SELECT text FROM uses WHERE run = ?", (number,)).fetchall()
    search.remove(db, number)
    aggregates.remove(db, number)
    db.execute("DELETE FROM runs WHERE number = ?", (number,))
    db.executemany(
        "DELETE FROM texts WHERE number = ? AND NOT EXISTS (SELECT 1 FROM uses WHERE text = texts.number)", texts
    )


def _megabytes(db: sqlite3.Connection) -> float:
    """Return the size of the stored data, without free space."""
    count, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return float((count - free) * size) / 1e6
