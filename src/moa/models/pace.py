"""How often an upstream's stream is read: word by word while few are open, several words at a time when many are.

A word that comes alone takes a wake-up, a parse and a write to the client; words that come together share them. So
where many answers are written at once, a stream that has begun to speak rests between two reads. What arrives meanwhile
waits in its socket; nobody's first word does.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

import aiohttp

FEW = 16
"""So many open streams are read as their words come."""

SHARE = 0.0003
"""Seconds of rest for each further one: about twice what it takes to pass on what one of them said."""

LONGEST = 0.03
"""Seconds a stream rests at most; the end of an answer is late by half of it."""

_open: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()


class Pace:
    """A context for as long as a stream is open."""

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        _open[self._loop] = _open.get(self._loop, 0) + 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open[self._loop] -= 1

    @property
    def rest(self) -> float:
        """Seconds to leave the stream alone, 0 or less for not at all."""
        return min(LONGEST, SHARE * (_open[self._loop] - FEW))


async def resting(reply: aiohttp.ClientResponse, seconds: float) -> None:
    """Leave what a stream says in its socket for a while."""
    transport = reply.connection.transport if reply.connection else None
    if transport is None:
        return  # it has ended
    transport.pause_reading()
    try:
        await asyncio.sleep(seconds)
    finally:
        transport.resume_reading()
