"""How often an upstream's stream is read: word by word while few are open, several words at a time when many are.

A word that comes alone takes a wake-up, a parse and a write to the client; words that come together share them. So
where many answers are written at once, the socket of one that has begun to speak is told to wake nobody for less than
a few words (`SO_RCVLOWAT`). A first word does not wait; nor, as a rule, does an answer's end, which is more than words.
"""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

import aiohttp

FEW = 40
"""So many open streams are read as their words come."""

SHARE = 0.0003
"""Seconds between two reads for each one where there are more: about three times what it takes to pass on what one
has said."""

LONGEST = 0.04
"""Seconds between two reads at most."""

TOGETHER = 4
"""Words that are read at a time, at most: what ends an answer is half as long, and mostly wakes by itself."""

PATIENCE = 1.15
"""How much longer than expected words wait for others."""

_open: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()


class Pace:
    """A context for as long as a stream is open."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = reply.connection.transport if reply.connection else None
        self._least = 1  # bytes that wake
        self._bytes = self._words = 0
        self._began = self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        _open[self._loop] = _open.get(self._loop, 0) + 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open[self._loop] -= 1
        self.hurry()
        if self._timer:
            self._timer.cancel()

    def heard(self, size: int, words: int) -> None:
        """So many bytes came, with so many words in them, and more will."""
        now = self._loop.time()
        if not self._began:
            self._began = now
            return None
        self._bytes += size
        self._words += words
        streams = _open[self._loop]
        if streams <= FEW or not self._words:
            return self.hurry()
        each = (now - self._began) / self._words
        together = min(TOGETHER, round(min(LONGEST, SHARE * streams) / each))
        if together < 2:
            return self.hurry()
        self._await(int((together - 0.5) * self._bytes / self._words))
        self._due = now + PATIENCE * together * each
        if not self._timer:
            self._timer = self._loop.call_at(self._due, self._look)
        return None

    def hurry(self) -> None:
        """Let every byte wake."""
        self._await(1)

    def _await(self, least: int) -> None:
        if self._transport is None or 0.8 * self._least <= least <= 1.25 * self._least:
            return  # a change that is hardly one is not worth telling the system
        self._least = least
        if not self._transport.is_closing():
            try:
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
            except OSError:
                self._transport = None  # Windows knows no such thing

    def _look(self) -> None:
        if self._due > self._loop.time():
            self._timer = self._loop.call_at(self._due, self._look)
        else:
            self._timer = None
            self.hurry()
