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

FEW = 40
"""So many open streams are read as their words come."""

SHARE = 0.0003
"""Seconds of rest for each one where there are more: about three times what it takes to pass on what one has said."""

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

    def rest(self, reply: aiohttp.ClientResponse) -> None:
        """Leave what the stream says in its socket for a while, where many are open."""
        streams = _open[self._loop]
        transport = reply.connection.transport if streams > FEW and reply.connection else None
        if transport:
            transport.pause_reading()
            self._loop.call_later(min(LONGEST, SHARE * streams), _resumed, transport)


def _resumed(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()
