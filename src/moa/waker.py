"""What one task waits for when several things may be the next to happen."""

from __future__ import annotations

import asyncio


class Waker:
    """Wakes the one task that waits for it, in the next round of the loop.

    `asyncio.wait` does the same for tasks and takes two rounds for it, which on a busy server is a delay one sees.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    def ring(self, _: object = None) -> None:
        """Wake who waits; nobody else hears it, not even who comes to wait in a moment."""
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    async def rung(self, seconds: float | None = None) -> None:
        """Return when it is rung, or so many seconds are over."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.ring)
        try:
            await self._waiting
        finally:
            if timer:
                timer.cancel()
