"""Runs in the background, which any number of readers watch.

The events of a run are kept in memory until some time after its end, so a reader that reconnects misses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from ...events import Event
from ...store.reader import State, StoredRun
from ...store.rows import row
from ...streaming import Events
from ...trace.tree import Trace
from ...types import Response
from ..service import RunRequest, Service


class LiveRun:
    """One run: its events so far and its state. `owner` is the client that started it."""

    def __init__(self, model: str, owner: str | None) -> None:
        self.id = ""
        self.model = model
        self.owner = owner
        self.state: State = "running"
        self.events: list[Event] = []
        self.trace = Trace()
        self.response: Response | None = None
        self.error: Exception | None = None
        self.ended = 0.0
        self._changed = asyncio.Event()

    def add(self, event: Event) -> None:
        self.events.append(event)
        self.trace.add(event)
        self._wake()

    def end(self, state: State) -> None:
        self.state, self.ended = state, time.monotonic()
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def read(self, after: int) -> AsyncIterator[list[tuple[int, Event]]]:
        """Yield the events after a number as they arrive, with their numbers from 1, until the run is over."""
        while True:
            changed = self._changed
            if fresh := self.events[after:]:
                yield list(enumerate(fresh, after + 1))
                after += len(fresh)
            elif self.state != "running":
                return
            else:
                await changed.wait()

    def row(self) -> StoredRun:
        """Return the run as an entry of a list."""
        return row(self.trace, self.state, str(self.error) if self.error else None, self.owner)


class Runs:
    """The runs of one server: all running ones, and the last `kept` finished ones for `seconds`."""

    def __init__(self, service: Service, kept: int = 100, seconds: float = 900.0) -> None:
        self._service = service
        self._kept = kept
        self._seconds = seconds
        self._runs: dict[str, LiveRun] = {}
        self._tasks: dict[str, tuple[asyncio.Task[None], Events]] = {}

    async def start(self, run: RunRequest) -> LiveRun:
        """Start a run once there is a slot for it. Raises what prevents that, such as `Busy`."""
        live = LiveRun(run.model.name, self._service.client)
        started: asyncio.Future[Events] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._execute(run, live, started))
        try:
            waiting: set[asyncio.Future[Any]] = {task, started}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()  # the client disconnected before the start
            raise
        if not started.done():
            await task  # raises its error
        self._runs[live.id] = live
        self._tasks[live.id] = task, started.result()
        task.add_done_callback(lambda _: self._tasks.pop(live.id))
        self._forget_old()
        return live

    async def _execute(self, run: RunRequest, live: LiveRun, started: asyncio.Future[Events]) -> None:
        try:
            async with self._service.run(run, live.add) as active:
                live.id = active.events.run.id
                started.set_result(active.events)
                async for _ in active.events:
                    pass
                live.response = active.response
        except asyncio.CancelledError:
            await self._finish(live, "stopped")
            raise
        except Exception as error:
            if not started.done():
                raise
            live.error = error
            await self._finish(live, "failed")
        else:
            await self._finish(live, "answered")

    async def _finish(self, live: LiveRun, state: State) -> None:
        """End the run after it has been stored, so that every reader of its end finds it in the store."""
        await self._service.stored()
        live.end(state)

    def find(self, id: str) -> LiveRun | None:
        """Return the run of an id, `None` if it is not in memory or the caller may not see it."""
        self._forget_old()
        live = self._runs.get(id)
        return live if live and self._service.may_see(live.owner) else None

    def all(self) -> list[LiveRun]:
        """Return the runs that the caller may see, the latest first."""
        self._forget_old()
        return [one for one in reversed(self._runs.values()) if self._service.may_see(one.owner)]

    def forget(self, live: LiveRun) -> None:
        """Drop a finished run."""
        if live.state != "running":
            self._runs.pop(live.id, None)

    def finish(self, live: LiveRun) -> None:
        """Answer with the proposals that have arrived."""
        if live.id in self._tasks:
            self._tasks[live.id][1].finish()

    async def stop(self, live: LiveRun) -> None:
        """Cancel a run and all its calls."""
        if live.id in self._tasks:
            task, _ = self._tasks[live.id]
            task.cancel()
            await asyncio.wait({task})

    def _forget_old(self) -> None:
        finished = [run for run, live in self._runs.items() if live.state != "running"]
        oldest = time.monotonic() - self._seconds
        for index, run in enumerate(finished):
            if index < len(finished) - self._kept or self._runs[run].ended < oldest:
                del self._runs[run]
