"""The thread that writes events into the store, several at a time.

Emitting an event only puts it into a queue. If events cannot be written, that is reported and their runs are given up;
the next run tries again.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..events import Event, SpanEnd, SpanStart
from ..types import Request
from . import aggregates, search
from .encoding import Recorded, shortened
from .migrations import connected, reported, transaction
from .retention import Limits, Sweeper
from .texts import pieces
from .writer_lock import WriterLock

if TYPE_CHECKING:
    import sqlite3

LINGER = 1.0
"""Seconds between two writes, unless a run has ended."""

BREATH = 0.05
"""Seconds from one write to the next even then: on a busy server several runs end meanwhile."""

BITE, REST = 0.0005, 0.002
"""Seconds of work and of rest in turn, unless a caller waits: while it works, an event loop is slowed down."""

BEHIND = 10_000
"""Events that may wait before it no longer rests."""

BACKLOG = 500_000
"""Events that may wait for a slow disk; beyond that, no further run is taken."""

COUNTED = 8
"""Runs whose figures are summed before they are written."""

WORDS = 200
"""Characters of a question that are shown in a list."""


class Writer:
    """Writes the runs whose events it receives. `tell` is called with problems."""

    def __init__(self, path: Path, text: bool, limits: Limits, tell: Callable[[str], None]) -> None:
        self.problem: str | None = None
        self._path = path
        self._text = text
        self._sweeper = Sweeper(limits)
        self._tell = tell
        self._waiting: deque[Event | threading.Event | Future[None] | None] = deque()
        self._begun = threading.Event()  # there is something to do
        self._hurry = threading.Event()  # a run has ended
        self._urgent = threading.Event()  # a caller waits
        self._refused: str | None = None  # the last run for which there was no place
        self._roots: set[str] = set()
        self._owners: dict[str, str] = {}  # by the id of a run's first span, until that is taken
        self._runs: dict[str, Recorded] = {}  # by the ids of their spans
        self._touched: dict[str, Recorded] = {}  # with something to write, by id
        self._rushed = False  # a caller waits for what is being written
        self._rested = 0.0
        self._next = 0.0  # when all of them are written
        self._numbers: dict[str, int] = {}  # of the runs that are in the store and not over, by id
        self._db: sqlite3.Connection | None = None
        self._lock: WriterLock | None = None
        self._thread = threading.Thread(target=self._write_all, name="moa-store", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether its thread runs, which it does not in a forked child."""
        return self._thread.is_alive()

    def put(self, event: Event, owner: str | None = None) -> None:
        """Queue an event of a run that belongs to `owner`. It is fast and never raises."""
        if owner is not None and type(event) is SpanStart and event.parent is None:
            self._owners[event.span] = owner
        self._waiting.append(event)
        if type(event) is SpanEnd:
            if event.span in self._roots:
                self._roots.discard(event.span)
                self._hurry.set()
        elif type(event) is SpanStart and event.parent is None:
            if len(self._waiting) > BACKLOG:
                self._waiting.pop()  # and what follows of this run is dropped where it is taken
                self._owners.pop(event.span, None)
                self._refused = event.run
            else:
                self._roots.add(event.span)
                self._begun.set()

    def flush(self, seconds: float) -> bool:
        """Wait until everything so far is written or given up; return whether that was in time."""
        done = threading.Event()
        self._urge(done)
        return done.wait(seconds)

    def settled(self) -> Future[None]:
        """Return a future that is done when the finished runs are written or given up."""
        done: Future[None] = Future()
        self._urge(done)
        return done

    def close(self, seconds: float) -> bool:
        """Write everything and end; return whether that was in time."""
        self._urge(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _urge(self, marker: threading.Event | Future[None] | None) -> None:
        self._waiting.append(marker)
        self._begun.set()
        self._urgent.set()
        self._hurry.set()

    def _write_all(self) -> None:
        with suppress(AttributeError, OSError):  # Linux knows it, but a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # not to take the processor from a busy loop
        going = True
        while going:
            if not self._runs:
                self._begun.wait()
            self._begun.clear()
            self._urgent.wait(BREATH)
            self._hurry.wait(LINGER - BREATH)
            self._rushed = self._urgent.is_set()
            self._urgent.clear()
            self._hurry.clear()
            events: list[Event] = []
            flushed: list[threading.Event] = []
            settled: list[Future[None]] = []
            while self._waiting:
                one = self._waiting.popleft()
                if isinstance(one, Event):
                    events.append(one)
                elif isinstance(one, Future):
                    settled.append(one)
                elif one is None:
                    going = False
                else:
                    flushed.append(one)
            self._take(events)
            self._write_due(bool(flushed) or not going)
            if run := self._refused:
                self._refused = None
                self._give_up([], f"run {run} is not stored: {BACKLOG:,} events wait for {self._path} already")
            for done in flushed:
                done.set()
            for future in settled:
                if future.set_running_or_notify_cancel():
                    future.set_result(None)
        self._close()

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            self._rest()
            if type(event) is SpanStart:
                if event.parent is None:
                    owner = self._owners.pop(event.span, None)
                    self._runs[event.span] = Recorded(event, self._text, owner)
                elif event.parent in self._runs:
                    self._runs[event.span] = self._runs[event.parent]
            run = self._runs.get(event.span)
            if run is None:
                continue  # it was given up, or not taken
            try:
                run.add(event)
            except (ValueError, KeyError, TypeError) as error:  # such as text that is not Unicode
                self._give_up([run], f"an event of run {run.start.run} cannot be stored: {error}")
                continue
            self._touched[run.start.run] = run
            if type(event) is SpanEnd and event.span != run.start.span:
                del self._runs[event.span]

    def _rest(self) -> None:
        if time.monotonic() - self._rested < BITE:
            return
        if not (self._rushed or self._urgent.is_set() or len(self._waiting) > BEHIND):
            time.sleep(REST)
        self._rested = time.monotonic()

    def _write_due(self, everything: bool) -> None:
        """Write the finished runs, and the others if it is time."""
        now = time.monotonic()
        everything = everything or now >= self._next
        if everything:
            self._next = now + LINGER
        due = [run for run in self._touched.values() if everything or run.over]
        if not due:
            return
        try:
            with reported(self._path):
                self._write(due)
        except StoreError as error:
            self._give_up(due, str(error))
            self._disconnect()
        else:
            self.problem = None

    def _write(self, runs: Sequence[Recorded]) -> None:
        if self._db is None:
            self._db = connected(self._path)
            self._lock = WriterLock(self._path)
        with transaction(self._db):
            for place in range(0, len(runs), COUNTED):
                aggregates.put(self._db, self._written(self._db, runs[place : place + COUNTED]))
        for run in runs:
            run.written()
            del self._touched[run.start.run]
            if run.over:
                self._forget(run)
        self._sweeper.sweep(self._db, self._path)

    def _written(self, db: sqlite3.Connection, runs: Sequence[Recorded]) -> Iterator[aggregates.Over]:
        for run in runs:
            self._rest()
            number = self._write_run(db, run)
            if run.over and number is not None:
                yield number, run.started, run.owner, run.trace

    def _write_run(self, db: sqlite3.Connection, run: Recorded) -> int | None:
        """Write what is new of a run. Return its number, or `None` if its id is stored already."""
        import orjson

        begun = self._numbers.get(run.start.run)
        number = begun or self._begin(db, run)
        if number is None:
            return None
        used = {text for name, body in run.texts.new.items() for text in _put(db, name, *body)}
        db.executemany("INSERT OR IGNORE INTO uses (run, text) VALUES (?, ?)", [(number, text) for text in used])
        records = run.pieces()
        if run.over:
            if begun:
                chunks = db.execute("SELECT body FROM chunks WHERE run = ? ORDER BY number", (number,)).fetchall()
                records = [record for (body,) in chunks for record in orjson.loads(body)] + records
                db.execute("DELETE FROM chunks WHERE run = ?", (number,))
            records = shortened(records, run.texts.named)
            self._end(db, run, number)
        db.execute("INSERT INTO chunks (run, body) VALUES (?, ?)", (number, orjson.dumps(records).decode()))
        if run.kept and (run.over or not begun):
            root = run.trace.root
            question_text = run.start.request.question if run.start.request else ""
            search.put(db, number, question_text, (root.text or root.error or "") if root and run.over else "")
        return number

    def _begin(self, db: sqlite3.Connection, run: Recorded) -> int | None:
        start = run.start
        assert self._lock
        row = (
            start.run,
            run.started,
            start.model,
            question(start.request) if start.request and run.kept else None,
            run.parent,
            "running",
            self._lock.name,
            run.owner,
        )
        marks = "id, started, model, question, parent, state, writer, owner"
        made = db.execute(f"INSERT OR IGNORE INTO runs ({marks}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
        if not made.rowcount:
            return None
        assert made.lastrowid is not None
        self._numbers[start.run] = made.lastrowid
        return made.lastrowid

    def _end(self, db: sqlite3.Connection, run: Recorded, number: int) -> None:
        trace = run.trace
        assert trace.root
        error, usage = trace.root.error, trace.root.usage
        values: dict[str, Any] = {
            "state": "answered" if error is None else "stopped" if error == "cancelled" else "failed",
            "writer": None,
            "parent": run.parent,
            "error": error if run.kept else None,
            "seconds": trace.time,
            "first_word": trace.first_word,
            "calls": len(trace.calls),
            "lost": len(trace.lost),
            "input_tokens": usage.input_tokens if usage else None,
            "output_tokens": usage.output_tokens if usage else None,
            "estimated": usage.estimated if usage else None,
            "cost": usage.cost if usage else None,
        }
        columns = ", ".join(f"{name} = :{name}" for name in values)
        db.execute(f"UPDATE runs SET {columns} WHERE number = :number", {**values, "number": number})  # noqa: S608

    def _give_up(self, runs: Any, problem: str) -> None:
        for run in list(runs):
            self._forget(run)
        if problem != self.problem:
            self._tell(problem)
        self.problem = problem

    def _forget(self, run: Recorded) -> None:
        self._numbers.pop(run.start.run, None)
        self._touched.pop(run.start.run, None)
        for node in run.trace.root.walk() if run.trace.root else ():
            self._runs.pop(node.start.span, None)

    def _close(self) -> None:
        """Leave the store in order: mark runs that have not ended."""
        if self._db and self._numbers:
            try:
                with reported(self._path), transaction(self._db):
                    for number in self._numbers.values():
                        self._db.execute(
                            "UPDATE runs SET state = 'unfinished', writer = NULL WHERE number = ?", (number,)
                        )
            except StoreError as error:
                self._give_up([], str(error))
        self._disconnect()

    def _disconnect(self) -> None:
        """Close the connection. Runs that were being written to it are over."""
        if self._db:
            self._db.close()
        if self._lock:
            self._lock.close()
        self._db = self._lock = None
        self._runs.clear()
        self._touched.clear()
        self._numbers.clear()


def question(request: Request) -> str:
    """Return the question as a list shows it."""
    return " ".join(request.question.split())[:WORDS]


def _put(db: sqlite3.Connection, name: str, body: str, joined: bool) -> Iterator[int]:
    """Store a text, and return the numbers of all texts that the run then uses.

    A text that was stored before may be joined of others than this run would have named, so these are used too.
    """
    key = bytes.fromhex(name)
    made = db.execute(
        "INSERT INTO texts (hash, body, joined) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (key, body, joined)
    )
    if made.rowcount:
        assert made.lastrowid is not None
        yield made.lastrowid
    else:
        yield from _stored(db, name)


def _stored(db: sqlite3.Connection, name: str) -> Iterator[int]:
    found = "SELECT number, body, joined FROM texts WHERE hash = ?"
    number, body, joined = db.execute(found, (bytes.fromhex(name),)).fetchone()
    yield number
    for inner in pieces(body) if joined else ():
        yield from _stored(db, inner)
