"""Reads a store: its list of runs, one run by the beginning of its id, and its events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from ..errors import StoreError
from ..events import Event
from ..trace.tree import Trace
from ..types import Usage
from . import writer_lock
from .encoding import events
from .migrations import connected, reported
from .search import query
from .texts import stored_texts, whole

State = Literal["running", "answered", "failed", "stopped", "unfinished"]
"""How a run stands. An unfinished one was cut off: its process is gone."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as an entry of a list.

    `started` is Unix time in seconds, `parent` the run that it is a rerun of. `question` (its beginning) and `error`
    are `None` if content is not stored. The rest is `None` until the run is over: the `seconds` it took, the time to
    the `first_word` of the answer, the number of `calls` and of `lost` ones, and the `usage`. `owner` is the id of the
    client, `None` for the local user.
    """

    id: str
    started: float
    model: str
    state: State
    question: str | None = None
    parent: str | None = None
    error: str | None = None
    seconds: float | None = None
    first_word: float | None = None
    calls: int | None = None
    lost: int | None = None
    usage: Usage | None = None
    owner: str | None = None


class NoSuchRun(StoreError):
    """No run of this name is in the store."""


_COLUMNS = (
    "id, started, model, state, runs.question, parent, error, seconds, first_word, calls, lost, "
    "input_tokens, output_tokens, cost, estimated, writer, owner"
)


class Reader:
    """Reads the store at `path`. Raises `StoreError`, also if there is none."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise StoreError(f"no runs are stored yet: there is no {path}")
        self._path = path
        self.db = connected(path)

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    def runs(
        self,
        model: str | None,
        since: float | None,
        failed: bool,
        limit: int | None,
        owner: str | None = None,
        state: State | None = None,
        before: str | None = None,
        search: str | None = None,
    ) -> list[StoredRun]:
        """Return the latest runs that match all conditions, the last one first."""
        conditions: dict[str, Any] = {}
        if model is not None:
            conditions["model = ?"] = model
        if since is not None:
            conditions["started >= ?"] = since
        if owner is not None:
            conditions["owner = ?"] = owner
        if state is not None:  # one that is said to be running may have been cut off
            conditions["state = ?" if state not in ("running", "unfinished") else "state IN ('running', ?)"] = state
        source, order, last = "runs", "id", "?"
        if search is not None:
            if not (words := query(search)):
                return []
            conditions["search MATCH ?"] = words
            source, order = "search JOIN runs ON runs.number = search.rowid", "search.rowid"
            last = "(SELECT number FROM runs WHERE id = ?)"
        if before is not None:
            conditions[f"{order} < {last}"] = before
        where = " AND ".join((*conditions, *["state != 'answered'"] * failed)) or "1"
        found: list[StoredRun] = []
        sql = f"SELECT {_COLUMNS} FROM {source} WHERE {where} ORDER BY {order} DESC"  # noqa: S608
        with reported(self._path):
            for row in self.db.execute(sql, tuple(conditions.values())):
                if limit is not None and len(found) >= limit:
                    break
                run = self._run(row)
                if not (failed and run.state == "running") and state in (None, run.state):
                    found.append(run)
        return found

    def find(self, name: str) -> StoredRun:
        """Return the run with this id or unique beginning of an id; "last" is the latest."""
        with reported(self._path):
            if name == "last":
                rows = self.db.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY id DESC LIMIT 1").fetchall()  # noqa: S608
            else:
                sql = f"SELECT {_COLUMNS} FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT 2"  # noqa: S608
                rows = self.db.execute(sql, (name, name + "\U0010ffff")).fetchall()
            if not rows or not name:
                raise NoSuchRun(f"no run {name!r}; list them with: moa runs")
            if len(rows) > 1 and rows[0][0] != name:
                raise StoreError(f"several runs begin with {name!r}; say more of the id: {rows[0][0]} or {rows[1][0]}")
            return self._run(rows[0])

    def events(self, run: StoredRun) -> Iterator[Event]:
        """Return the events of a run in the order they were emitted."""
        with reported(self._path):
            (number,) = self.db.execute("SELECT number FROM runs WHERE id = ?", (run.id,)).fetchone()
            chunks = self.db.execute("SELECT body FROM chunks WHERE run = ? ORDER BY number", (number,)).fetchall()
            texts = stored_texts(self.db, number)
        try:
            yield from events([record for (body,) in chunks for record in orjson.loads(body)], whole(texts))
        except (ValueError, KeyError) as error:
            raise StoreError(f"{self._path}: run {run.id} cannot be read: {error}") from error

    def trace(self, run: StoredRun) -> Trace:
        """Return a run as a tree. Raises `StoreError`, also if events are missing."""
        try:
            trace = Trace.of(self.events(run))
            if trace.root is None:
                raise KeyError(run.id)
        except KeyError:
            raise StoreError(f"{self._path}: run {run.id} cannot be read: some of its events are missing") from None
        return trace

    def _run(self, row: Any) -> StoredRun:
        read, written, cost, estimated, writer, owner = row[-6:]
        usage = None if read is None else Usage(read, written, cost, estimated=bool(estimated))
        run = replace(StoredRun(*row[:-6]), usage=usage, owner=owner)
        cut_off = run.state == "running" and not writer_lock.is_held(self._path, writer)
        return replace(run, state="unfinished") if cut_off else run
