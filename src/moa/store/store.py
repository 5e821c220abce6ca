"""A store of runs: it stores the events passed to `emit`, and reads them back."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..errors import StoreError
from ..events import Event, SpanStart
from ..paths import state_folder

if TYPE_CHECKING:
    from .reader import State, StoredRun
    from .stats import Figures
    from .writer import Writer

FILE = "runs.sqlite"

log = logging.getLogger("moa.store")


class Store:
    """Runs in one SQLite file, by default in the user's state folder. Several processes may write to it at once.

    Pass `store.emit` to `generate` or `stream`; any number of runs may be in progress. It never raises and never waits:
    a thread writes. If a run cannot be stored, `tell` is called with one line and `problem` is set. With `text=False`
    only the shape of a run is stored: times, models, tokens, cost, and the length of every text. Runs older than `days`
    are removed, and the oldest ones beyond `megabytes`; `None` is no limit.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        text: bool = True,
        days: float | None = None,
        megabytes: float | None = None,
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        chosen = state_folder() / FILE if path is None else Path(path)
        self.path = chosen / FILE if chosen.is_dir() else chosen
        self._text = text
        self._days = days
        self._megabytes = megabytes
        self._tell = tell
        self._writer: Writer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def problem(self) -> str | None:
        """Why the last run was not stored, or `None`."""
        return self._writer.problem if self._writer else None

    def emit(self, event: Event, owner: str | None = None) -> None:
        """Store an event. A run is stored only from its first event on, with its `owner`.

        `owner` is the id of a client, `None` for the local user.
        """
        writer = self._writer
        if writer is None or (isinstance(event, SpanStart) and event.parent is None and not writer.running):
            writer = self._writer = self._opened()
        writer.put(event, owner)

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until all events so far are written; return whether they were within this many seconds."""
        return self._writer is None or self._writer.flush(seconds)

    def settled(self) -> Future[None]:
        """Return a future that is done when the runs that are over by now are written or given up."""
        if self._writer:
            return self._writer.settled()
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def close(self, seconds: float = 10.0) -> bool:
        """Write all events and close the file; return whether that was done within this many seconds."""
        writer, self._writer = self._writer, None
        if writer is None:
            return True
        atexit.unregister(self.close)
        return writer.close(seconds)

    def runs(
        self,
        *,
        model: str | None = None,
        since: float | None = None,
        failed: bool = False,
        limit: int | None = None,
        owner: str | None = None,
        state: State | None = None,
        before: str | None = None,
        search: str | None = None,
    ) -> list[StoredRun]:
        """Return the runs, the latest first, that match all conditions.

        `model` is a name, `since` a moment (Unix time), `failed` selects runs that failed or were stopped, `limit` is
        the maximum number, `owner` a client, `state` a state, `before` the id of a later run. `search` selects runs
        with these words in question or answer, in the order in which they were stored. Words are whole words, prefix*
        matches their beginning, and "several in quotation marks" must stand next to each other. Raises `StoreError`.
        """
        from .reader import Reader

        self.flush()
        with closing(Reader(self.path)) as reader:
            return reader.runs(model, since, failed, limit, owner, state, before, search)

    def find(self, name: str) -> StoredRun:
        """Return the run whose id is, or alone begins with, `name`; "last" is the latest. Raises `StoreError`."""
        from .reader import Reader

        self.flush()
        with closing(Reader(self.path)) as reader:
            return reader.find(name)

    def events(self, name: str) -> list[Event]:
        """Return the events of a run as they were emitted; `name` as in `find`. Raises `StoreError`."""
        from .reader import Reader

        self.flush()
        with closing(Reader(self.path)) as reader:
            return list(reader.events(reader.find(name)))

    def figures(
        self,
        *,
        since: float | None = None,
        mixture: str | None = None,
        owner: str | None = None,
        by_day: bool = False,
    ) -> list[Figures]:
        """Return the statistics of each model in finished runs.

        They are of all runs, or of those since a day (the local one of that Unix time), of one `mixture` or model, and
        of one `owner`. Raises `StoreError`.
        """
        from .aggregates import day
        from .migrations import reported
        from .reader import Reader
        from .stats import figures

        self.flush()
        with closing(Reader(self.path)) as reader, reported(self.path):
            return figures(reader.db, None if since is None else day(since), mixture, owner, by_day)

    def trace_shares(self, limit: int, *, owner: str | None = None, tell: Callable[[str], object] = log.warning) -> int:
        """Trace the sources of the latest untraced answers, at most `limit`, at about 10 ms each; return their number.

        `figures` has the shares afterwards. Runs that cannot be read are skipped, and reported to `tell`. Raises
        `StoreError`.
        """
        from .attribution import trace_shares
        from .migrations import reported
        from .reader import Reader

        self.flush()
        with closing(Reader(self.path)) as reader, reported(self.path):
            return trace_shares(reader, limit, owner, tell)

    def take(self, lines: Iterable[bytes]) -> tuple[int, int]:
        """Import runs from JSON lines (`moa ask --jsonl`, `moa runs export`); return how many were new and known
        already.

        Raises `StoreError`.
        """
        from .jsonl import taken

        known = {run.id for run in self.runs()} if self.path.exists() else set()
        counts = taken(lines, known.__contains__, self.emit)
        if not self.flush(600.0) or self.problem:
            raise StoreError(self.problem or f"{self.path}: not written in time")
        return counts

    def remove(self, name: str) -> None:
        """Remove a run permanently; `name` as in `find`. Raises `StoreError`, also for a run in progress."""
        from .migrations import reported
        from .reader import Reader
        from .retention import remove

        self.flush()
        with closing(Reader(self.path)) as reader, reported(self.path):
            found = reader.find(name)
            if found.state == "running":
                raise StoreError(f"run {found.id} is going on; stop it first")
            remove(reader.db, found.id)

    def purge(self, *, days: float | None = None, megabytes: float | None = None) -> int:
        """Remove the runs beyond these limits, or all without limits, and return their number.

        Runs in progress stay. Raises `StoreError`.
        """
        from .migrations import reported
        from .reader import Reader
        from .retention import Limits, mark_unfinished, purge

        self.flush()
        limits = Limits(days, megabytes) if days is not None or megabytes is not None else Limits(days=0.0)
        with closing(Reader(self.path)) as reader, reported(self.path):
            mark_unfinished(reader.db, self.path)
            return purge(reader.db, limits)

    def _opened(self) -> Writer:
        from .retention import Limits
        from .writer import Writer

        atexit.unregister(self.close)
        atexit.register(self.close)
        return Writer(self.path, self._text, Limits(self._days, self._megabytes), self._tell)
