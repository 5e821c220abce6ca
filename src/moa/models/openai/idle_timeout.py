"""How long a peer may say nothing, however long it speaks."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Silence:
    """A context that ends with a `TimeoutError` when nothing was `heard` for so many seconds.

    A word costs it a look at the clock: the timer is set when it fires, and not for each word.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._limit = asyncio.timeout(None)

    def heard(self) -> None:
        """Something was said."""
        self._heard = self._loop.time()

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self._timer = self._loop.call_later(self._seconds, self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _look(self) -> None:
        due = self._heard + self._seconds
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._limit.reschedule(due)
