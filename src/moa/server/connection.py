"""uvicorn's connection, with limits on how slowly a client may send its headers and read its answer.

A client that sends its headers a byte at a time, or stops reading, would otherwise hold a connection for ever.
`BodyLimitMiddleware` limits how slowly a body may arrive.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Connection(HttpToolsProtocol):
    """Closes when headers take more than `header_timeout` seconds or `max_header_bytes`, or when the client reads
    nothing for `write_timeout` seconds."""

    header_timeout = 15.0
    write_timeout = 60.0
    max_header_bytes = 2**16
    _header_bytes = 0
    _header_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.header_timeout, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_header_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_timeout, self.transport.abort)
        self._header_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._cancel_header_timer()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        self._write_timer = self._write_timer or self.loop.call_later(self.write_timeout, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _count(self, *parts: bytes) -> None:
        self._header_bytes += sum(map(len, parts))
        if self._header_bytes > self.max_header_bytes:
            self.transport.abort()

    def _cancel_header_timer(self) -> None:
        if self._header_timer:
            self._header_timer.cancel()
            self._header_timer = None


def limited(header_timeout: float, write_timeout: float) -> type[Connection]:
    """Return a connection class with other limits, in seconds."""
    limits: dict[str, Any] = {"header_timeout": header_timeout, "write_timeout": write_timeout}
    return type("Connection", (Connection,), limits)
