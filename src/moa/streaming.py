"""Streams a run as an async iterator of its events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .events import Event
from .model import Model
from .sinks import EventSink, tee
from .span import Run, StreamMode, answer
from .types import Request, Response
from .waker import Waker

if TYPE_CHECKING:
    from .budget import Budget


class _Unread:
    """The events that are not read yet.

    It holds no reference to its run. In a cycle, each finished run would wait for the garbage collector, which stops a
    busy server for tenths of a second.
    """

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.waker = Waker()

    def add(self, event: Event) -> None:
        self.events.append(event)
        self.waker.wake()


class Events:
    """The events of a run, as they happen. Iterate once; a failed run raises after its last event."""

    def __init__(
        self,
        model: Model,
        request: Request,
        words: StreamMode,
        budget: Budget | None = None,
        emit: EventSink | None = None,
    ) -> None:
        self._unread = _Unread()
        self.run = Run(tee(self._unread.add, emit), words, budget)
        self._task = asyncio.create_task(answer(model, request, self.run))
        self._task.add_done_callback(self._unread.waker.wake)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        if not await self._there():
            raise StopAsyncIteration
        return self._unread.events.popleft()

    async def batch(self) -> Sequence[Event]:
        """Return all events since the last call, at least one. Empty when the run is over."""
        await self._there()
        batch, self._unread.events = self._unread.events, deque()
        return batch

    @property
    def response(self) -> Response:
        """The response, once the events have ended."""
        return self._task.result()

    def finish(self) -> None:
        """Answer with the proposals so far, see `Run.finish`."""
        self.run.finish()

    async def stop(self) -> None:
        """Cancel every call still running, at any depth."""
        if self._task.cancel():
            await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # retrieved, so that asyncio does not log it

    async def _there(self) -> bool:
        """Wait for an event. Return whether there is one; otherwise the run is over. Raises the error of the run."""
        while not self._unread.events:
            if self._task.done():
                await self._task
                return False
            await self._unread.waker.wait()
        return True


@asynccontextmanager
async def stream(
    model: Model,
    request: Request,
    words: StreamMode = "all",
    *,
    budget: Budget | None = None,
    emit: EventSink | None = None,
) -> AsyncIterator[Events]:
    """Call a model and stream its events: `async with stream(model, request) as events: async for event in events`.

    Leaving the block early cancels every call still running, at any depth. `budget` is the most that a mixture may use.
    `emit` receives every event too, also those after the block was left.
    """
    events = Events(model, request, words, budget, emit)
    try:
        yield events
    finally:
        await events.stop()
