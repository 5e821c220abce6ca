"""Wakes a task that is waiting for any of several events."""

from __future__ import annotations

import asyncio


class Waker:
    """Wakes the one task that waits on it, in the next round of the event loop.

    `asyncio.wait` does the same for tasks but takes two rounds, a visible delay on a busy server.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    def wake(self, _: object = None) -> None:
        """Wake the waiting task. Without one, nothing happens: a later `wait` does not return for it."""
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for `wake`, at most this many seconds."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.wake)
        try:
            await self._waiting
        finally:
            if timer:
                timer.cancel()
