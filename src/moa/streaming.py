"""A run as a stream of its events, while it goes on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .events import Event
from .listeners import Emit, tee
from .model import Model, Run, Words, answer
from .types import Request, Response

if TYPE_CHECKING:
    from .budget import Budget


class Events:
    """The events of a run, as they happen. Iterate once; a failed run raises after its last event."""

    def __init__(
        self, model: Model, request: Request, words: Words, budget: Budget | None = None, emit: Emit | None = None
    ) -> None:
        self.run = Run(tee(self._told, emit), words, budget)
        self._waiting: deque[Event] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._task = asyncio.create_task(answer(model, request, self.run))
        self._task.add_done_callback(lambda _: self._wake())

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        if not await self._there():
            raise StopAsyncIteration
        return self._waiting.popleft()

    async def batch(self) -> Sequence[Event]:
        """Everything that has happened since last asked, at least one event; nothing when the run is over."""
        await self._there()
        batch, self._waiting = self._waiting, deque()
        return batch

    @property
    def response(self) -> Response:
        """The answer, once the events have ended."""
        return self._task.result()

    def finish(self) -> None:
        """Answer with the proposals that are there, see `Run.finish`."""
        self.run.finish()

    async def stop(self) -> None:
        """Cancel every call still running, at any depth."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # a reader that left early does not want to hear of it

    def _told(self, event: Event) -> None:
        self._waiting.append(event)
        self._wake()

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)

    async def _there(self) -> bool:
        """Wait for an event; whether there is one, or the run is over. Raises what the run raised."""
        while not self._waiting:
            if self._task.done():
                await self._task
                return False
            self._reader = self._task.get_loop().create_future()
            await self._reader
        return True


@asynccontextmanager
async def stream(
    model: Model, request: Request, words: Words = "all", *, budget: Budget | None = None, emit: Emit | None = None
) -> AsyncIterator[Events]:
    """Ask a model and watch: `async with stream(model, request) as events: async for event in events`.

    Leaving the block early cancels every call still running, at any depth. `budget` is the most that a mixture may use;
    `emit` is told every event too, also those that come after the block was left.
    """
    events = Events(model, request, words, budget, emit)
    try:
        yield events
    finally:
        await events.stop()
