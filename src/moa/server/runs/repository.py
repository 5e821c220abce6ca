"""One run as its caller may see it, whether it goes on here, has just ended, or is stored."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NotRequired, TypeVar, cast

from typing_extensions import TypedDict

from ...errors import RequestError
from ...events import Event
from ...json_types import CallJSON, SummaryJSON
from ...store.reader import State, StoredRun
from ...store.rows import when_exactly
from ...trace.tree import Trace
from ...trace.views import call_json, response_of
from ...types import Response
from ..errors import problem
from ..service import RunNotFound, Service
from .live_runs import LiveRun, Runs
from .stored_runs import StoredRunReader, StoredRuns

Result = TypeVar("Result")


class RunErrorJSON(TypedDict):
    message: str | None
    type: str | None
    code: str | None


class RunJSON(TypedDict):
    """A run: its state, its calls, and how it ended."""

    run_id: str
    model: str
    state: State
    events: int
    started: str
    question: str | None
    parent: str | None
    tree: CallJSON
    summary: NotRequired[SummaryJSON]
    error: NotRequired[RunErrorJSON]


@dataclass(frozen=True)
class RunView:
    """A run with all its events so far."""

    run: StoredRun
    events: list[Event]
    trace: Trace
    response: Response | None = None
    failure: Exception | None = None

    def as_json(self) -> RunJSON:
        """How it stands, what came of it, and the tree of its calls."""
        run, root = self.run, self.trace.root
        assert root
        known: RunJSON = {
            "run_id": run.id,
            "model": run.model,
            "state": run.state,
            "events": len(self.events),
            "started": when_exactly(run.started),
            "question": root.start.request.question if root.start.request else None,
            "parent": run.parent,
            "tree": call_json(root),
        }
        if run.state == "answered":
            known["summary"] = cast("SummaryJSON", self.trace.summary(self.response or response_of(root)))
        if self.failure:
            error = problem(self.failure)
            known["error"] = {"message": error.message, "type": error.kind, "code": error.code}
        elif run.state == "failed":
            known["error"] = {"message": run.error or root.error, "type": None, "code": None}
        return known


class RunRepository:
    """Finds runs for their callers. Raises `RunNotFound` for the runs of others, as for those that never were."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.running = Runs(service)
        self.past = StoredRuns(service)

    async def find(self, run: str) -> LiveRun | StoredRunReader:
        """A run whose events can be read."""
        return self.running.find(run) or StoredRunReader(self.past, await self.past.find(run))

    async def seen(self, run: str) -> RunView:
        """A run with all its events."""
        record = self.running.find(run)
        if record:
            return RunView(record.row(), list(record.events), record.trace, record.response, record.error)
        stored = await self.past.find(run)
        events = await self.past.events(stored)
        return RunView(stored, events, await self._service.in_thread(Trace.of, events))

    async def forget(self, seen: RunView) -> None:
        """Remove a run for good. Raises `RequestError` for one that another process is making."""
        if seen.run.state == "running":
            raise RequestError("another process is making this run; stop it there before it is removed")
        if record := self.running.find(seen.run.id):
            self.running.forget(record)
        if self.past.kept:
            with suppress(RunNotFound):  # it began before runs were stored
                await self.past.remove(seen.run)

    async def work(self, run: str, work: Callable[[RunView], Result]) -> Result:
        """What comes of some work on a run, done beside the event loop; on one that goes on, as it is now."""
        seen = await self.seen(run)
        if seen.run.state != "running":
            return await self._service.in_thread(work, seen)
        return await self._service.in_thread(lambda: work(replace(seen, trace=Trace.of(seen.events))))
