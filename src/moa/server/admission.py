"""Admission control: how many requests run at once, and how many may wait. Further ones are rejected."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from ..errors import MoaError


class Busy(MoaError):
    """Too many requests are running and waiting. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass
class Admission:
    """At most `max_concurrency` requests run and `max_queue` wait, first come first served."""

    max_concurrency: int = 256
    max_queue: int = 256
    active: int = 0
    _turns: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def waiting(self) -> int:
        return len(self._turns)

    def resize(self, max_concurrency: int, max_queue: int) -> None:
        """Change the limits. Requests that run or wait already are kept."""
        self.max_concurrency, self.max_queue = max_concurrency, max_queue
        self._admit()

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises `Busy`."""
        if self.active < self.max_concurrency and not self._turns:
            self.active += 1
        elif self.waiting >= self.max_queue:
            raise Busy(f"{self.active} requests are running and {self.waiting} are waiting; retry in a moment", 1)
        else:
            await self._turn()
        try:
            yield
        finally:
            self._leave()

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._turns.remove(turn)
            if turn.done() and not turn.cancelled():  # it got a slot at the moment of its cancellation
                self._leave()
            raise

    def _leave(self) -> None:
        self.active -= 1
        self._admit()

    def _admit(self) -> None:
        while self._turns and self.active < self.max_concurrency:
            turn = self._turns.popleft()
            if not turn.done():
                self.active += 1
                turn.set_result(None)
