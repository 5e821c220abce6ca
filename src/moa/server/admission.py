"""How many requests are answered at once, and how many may wait: the others are turned away at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from ..errors import MoaError


class Busy(MoaError):
    """More requests than may run or wait at once. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass
class Admission:
    """At most `at_once` requests run and `queue` wait, first come first served."""

    at_once: int = 256
    queue: int = 256
    active: int = 0
    _turns: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def waiting(self) -> int:
        return len(self._turns)

    def resize(self, at_once: int, queue: int) -> None:
        """Change the limits. Who runs or waits already is not turned away."""
        self.at_once, self.queue = at_once, queue
        self._admit()

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises `Busy`."""
        if self.active < self.at_once and not self._turns:
            self.active += 1
        elif self.waiting >= self.queue:
            raise Busy(f"{self.active} requests are running and {self.waiting} are waiting; try again soon", 1)
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
            if turn.done() and not turn.cancelled():  # the place came at the moment of leaving
                self._leave()
            raise

    def _leave(self) -> None:
        self.active -= 1
        self._admit()

    def _admit(self) -> None:
        while self._turns and self.active < self.at_once:
            turn = self._turns.popleft()
            if not turn.done():
                self.active += 1
                turn.set_result(None)
