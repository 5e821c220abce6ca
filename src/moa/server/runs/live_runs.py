"""Runs that go on by themselves, whoever watches them.

The events of a run are kept while it goes on and for a while after it, so a reader that was away misses nothing.
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
    """One run: its events so far, and how it stands. `owner` is the client that started it."""

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
        """The events after a number, with their numbers from 1, as they come, until the run is over."""
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
        """The run as a list has it."""
        return row(self.trace, self.state, str(self.error) if self.error else None, self.owner)


class Runs:
    """The runs of one server: all that go on, and the last `kept` that are over, for `seconds`."""

    def __init__(self, service: Service, kept: int = 100, seconds: float = 900.0) -> None:
        self._service = service
        self._kept = kept
        self._seconds = seconds
        self._records: dict[str, LiveRun] = {}
        self._doing: dict[str, tuple[asyncio.Task[None], Events]] = {}

    async def start(self, asked: RunRequest) -> LiveRun:
        """Begin a run, once there is a place for it. Raises what stands in the way of that, such as `Busy`."""
        record = LiveRun(asked.model.name, self._service.client)
        started: asyncio.Future[Events] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(asked, record, started))
        try:
            waiting: set[asyncio.Future[Any]] = {task, started}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()  # who began it went away before it had begun
            raise
        if not started.done():
            await task  # which has failed
        self._records[record.id] = record
        self._doing[record.id] = task, started.result()
        task.add_done_callback(lambda _: self._doing.pop(record.id))
        self._forget_old()
        return record

    async def _run(self, asked: RunRequest, record: LiveRun, started: asyncio.Future[Events]) -> None:
        try:
            async with self._service.run(asked, record.add) as active:
                record.id = active.events.run.id
                started.set_result(active.events)
                async for _ in active.events:
                    pass
                record.response = active.response
        except asyncio.CancelledError:
            await self._over(record, "stopped")
            raise
        except Exception as error:
            if not started.done():
                raise
            record.error = error
            await self._over(record, "failed")
        else:
            await self._over(record, "answered")

    async def _over(self, record: LiveRun, state: State) -> None:
        """Let it be over, which is told once it is stored: whoever heard of it finds it, whatever happens."""
        await self._service.stored()
        record.end(state)

    def find(self, run: str) -> LiveRun | None:
        """The run of an id, where it is known here and the caller may see it."""
        self._forget_old()
        record = self._records.get(run)
        return record if record and self._service.shows(record.owner) else None

    def all(self) -> list[LiveRun]:
        """The runs that the caller may see, the latest first."""
        self._forget_old()
        return [one for one in reversed(self._records.values()) if self._service.shows(one.owner)]

    def forget(self, record: LiveRun) -> None:
        """Know no longer of a run that is over."""
        if record.state != "running":
            self._records.pop(record.id, None)

    def finish(self, record: LiveRun) -> None:
        """Let it answer with what it has."""
        if record.id in self._doing:
            self._doing[record.id][1].finish()

    async def stop(self, record: LiveRun) -> None:
        """End it now, and every call it has made."""
        if record.id in self._doing:
            task, _ = self._doing[record.id]
            task.cancel()
            await asyncio.wait({task})

    def _forget_old(self) -> None:
        over = [run for run, record in self._records.items() if record.state != "running"]
        late = time.monotonic() - self._seconds
        for place, run in enumerate(over):
            if place < len(over) - self._kept or self._records[run].ended < late:
                del self._records[run]
