"""A timeout between two pieces of data, however long the whole takes."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class IdleTimeout:
    """A context that raises `TimeoutError` if `reset` was not called for this many seconds.

    A reset only reads the clock: the timer is set again when it fires, not at each reset.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._limit = asyncio.timeout(None)

    def reset(self) -> None:
        """Restart the timeout, because data arrived."""
        self._last = self._loop.time()

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self._timer = self._loop.call_later(self._seconds, self._check)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _check(self) -> None:
        due = self._last + self._seconds
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._check)
        else:
            self._limit.reschedule(due)
