"""One connection of a client, with limits on how slow the client may be: to say what it wants, and to read the answer.

A client that sends its headers a byte at a time, or stops reading, would otherwise hold a place for ever. How slowly a
body may come is the business of the gate, which reads it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Connection(HttpToolsProtocol):
    """Closed when the headers are not there `head` seconds after they began, are longer than `most` bytes, or nothing
    is read for `stall` seconds."""

    head = 15.0
    stall = 60.0
    most = 2**16
    _told = 0
    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(self.head, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._quiet()
        self.resume_writing()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.head, self.transport.abort)
        self._told = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._quiet()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        self._stall = self._stall or self.loop.call_later(self.stall, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._stall:
            self._stall.cancel()
            self._stall = None
        super().resume_writing()

    def _count(self, *told: bytes) -> None:
        self._told += sum(map(len, told))
        if self._told > self.most:
            self.transport.abort()

    def _quiet(self) -> None:
        if self._head:
            self._head.cancel()
            self._head = None


def limited(head: float, stall: float) -> type[Connection]:
    """Connections with limits of their own, in seconds."""
    return type("Connection", (Connection,), dict[str, Any](head=head, stall=stall))
