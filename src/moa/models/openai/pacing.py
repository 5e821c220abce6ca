"""Paces the reading of streams: token by token while few are open, several tokens at a time when many are.

A token that arrives alone takes a wake-up, a parse and a write to the client; tokens that arrive together share them.
So while many answers are streamed, a socket whose answer has begun wakes the loop only for several tokens
(`SO_RCVLOWAT`). The first token never waits, and the end of a stream is looked for.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

import aiohttp

FEW = 40
"""Up to this many open streams are read token by token."""

SHARE = 0.0009
"""Seconds between two reads for each open stream beyond that: about nine times the time to pass on one token."""

LONGEST = 0.1
"""The most seconds between two reads."""

TOGETHER, ENCRYPTED = 10, 4
"""The most tokens that are read at a time; fewer where encryption hides the end of a stream."""

PATIENCE = 1.15
"""How much longer than expected tokens wait for others."""

TICK = 0.015
"""Seconds between two checks of all resting streams."""

SEEN, END = 4096, b"[DONE]"
"""Bytes that are inspected, and the end of a stream."""


def paced(reply: aiohttp.ClientResponse) -> Pace:
    """Return the pace of a stream, a context for as long as the stream is open."""
    _resume_only_if_paused(reply)
    return Pace(reply)


def _resume_only_if_paused(reply: aiohttp.ClientResponse) -> None:
    """Keep aiohttp (since 3.14) from resuming a stream that is not paused, with its parser and its transport, for each
    chunk: every token of a stream is a chunk."""
    protocol = reply.connection.protocol if reply.connection else None
    if protocol is None or "resume_reading" in vars(protocol):
        return
    resume = protocol.resume_reading

    def resume_paused(resume_parser: bool = True) -> None:
        if protocol._reading_paused:
            resume(resume_parser)

    protocol.resume_reading = resume_paused  # type: ignore[method-assign]


class Pace:
    """How often one stream is read."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._streams = _streams.setdefault(loop, _Streams())
        self._socket = _Socket.of(reply)
        self._bytes = self._tokens = 0
        self._began = self._due = 0.0

    def __enter__(self) -> Self:
        self._streams.open += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streams.open -= 1
        self.hurry()
        if self._socket:
            self._socket.leave()

    def count(self, size: int, tokens: int) -> None:
        """Count the bytes and tokens of a packet that is not the last."""
        now = self._now()
        if not self._began:
            self._began = now
            return
        self._bytes += size
        self._tokens += tokens
        streams = self._streams.open
        elapsed = now - self._began  # 0 if the loop has not waited since the first packet
        if streams > FEW and elapsed > 0 and self._tokens and self._socket:
            each = elapsed / self._tokens
            together = min(self._socket.together, round(min(LONGEST, SHARE * streams) / each))
            if together > 1:
                self._due = now + PATIENCE * together * each
                self._streams.rest(self)
                self._socket.wake_at(int((together - 0.5) * self._bytes / self._tokens))
                return
        self.hurry()

    def hurry(self) -> None:
        """Wake for every byte."""
        self._streams.resting.discard(self)
        if self._socket:
            self._socket.wake_at(1)

    def late(self, now: float) -> bool:
        """Return whether waiting bytes should be read now."""
        return now >= self._due or (self._socket is not None and self._socket.ended())


class _Socket:
    """The socket under a reply, which belongs to its transport."""

    def __init__(self, transport: asyncio.Transport) -> None:
        shown = transport.get_extra_info("socket")
        self._socket = socket.socket(shown.family, shown.type, shown.proto, fileno=shown.fileno())
        self._transport = transport
        self._least = 1
        self._plain = transport.get_extra_info("sslcontext") is None
        self.together = TOGETHER if self._plain else ENCRYPTED

    @staticmethod
    def of(reply: aiohttp.ClientResponse) -> _Socket | None:
        """Return the socket of a reply. `None` if it is closed, or on Windows, which has no such option."""
        transport = reply.connection.transport if reply.connection else None
        return _Socket(transport) if transport and not transport.is_closing() and sys.platform != "win32" else None

    def leave(self) -> None:
        self._socket.detach()

    def wake_at(self, least: int) -> None:
        """Wake for this many bytes. A small change is not worth a system call."""
        if not (0.8 * self._least <= least <= 1.25 * self._least or self._transport.is_closing()):
            self._least = least
            with suppress(OSError):  # a broken connection wakes by itself
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)

    def ended(self) -> bool:
        """Return whether the end of the stream is among the waiting bytes."""
        if not self._plain or self._transport.is_closing():
            return False
        try:
            return END in self._socket.recv(SEEN, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:  # no bytes wait, or the connection is broken, which wakes by itself
            return False


class _Streams:
    """The open streams of one loop: their number, and those that rest."""

    def __init__(self) -> None:
        self.open = 0
        self.resting: set[Pace] = set()
        self._looking = False

    def rest(self, pace: Pace) -> None:
        self.resting.add(pace)
        if not self._looking:
            self._look_later()

    def _look_later(self) -> None:
        self._looking = bool(self.resting)
        if self._looking:
            asyncio.get_running_loop().call_later(TICK, self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        for pace in [pace for pace in self.resting if pace.late(now)]:
            pace.hurry()
        self._look_later()


_streams: WeakKeyDictionary[asyncio.AbstractEventLoop, _Streams] = WeakKeyDictionary()
