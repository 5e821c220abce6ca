"""Runs by their ids, as their callers may see them: in progress, just finished, or stored."""

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
        """Return the state of the run, its result, and the tree of its calls."""
        run, root = self.run, self.trace.root
        assert root
        body: RunJSON = {
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
            body["summary"] = cast("SummaryJSON", self.trace.summary(self.response or response_of(root)))
        if self.failure:
            error = problem(self.failure)
            body["error"] = {"message": error.message, "type": error.kind, "code": error.code}
        elif run.state == "failed":
            body["error"] = {"message": run.error or root.error, "type": None, "code": None}
        return body


class RunRepository:
    """Finds runs for their callers. The runs of other clients raise `RunNotFound`, like ids that do not exist."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.live = Runs(service)
        self.stored = StoredRuns(service)

    async def find(self, run: str) -> LiveRun | StoredRunReader:
        """Return a run whose events can be read."""
        return self.live.find(run) or StoredRunReader(self.stored, await self.stored.find(run))

    async def view(self, id: str) -> RunView:
        """Return a run with all its events so far."""
        live = self.live.find(id)
        if live:
            return RunView(live.row(), list(live.events), live.trace, live.response, live.error)
        run = await self.stored.find(id)
        events = await self.stored.events(run)
        return RunView(run, events, await self._service.in_thread(Trace.of, events))

    async def delete(self, view: RunView) -> None:
        """Delete a run. Raises `RequestError` for one that another process is making."""
        if view.run.state == "running":
            raise RequestError(f"run {view.run.id}: another process is making it; stop it there first")
        if live := self.live.find(view.run.id):
            self.live.forget(live)
        if self.stored.enabled:
            with suppress(RunNotFound):  # it began before the store was enabled
                await self.stored.remove(view.run)

    async def work(self, run: str, work: Callable[[RunView], Result]) -> Result:
        """Return `work(view)` of a run, done in a thread. Of a run in progress, it gets a copy of the present state."""
        view = await self.view(run)
        if view.run.state != "running":
            return await self._service.in_thread(work, view)
        return await self._service.in_thread(lambda: work(replace(view, trace=Trace.of(view.events))))
