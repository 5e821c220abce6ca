"""A minimal client for load tests: one connection, one request at a time, and the moments at which text arrives."""

from __future__ import annotations

import asyncio
import json
import re
import time
from urllib.parse import urlsplit

from ideal import Times

VISIBLE = re.compile(rb'"(?:reasoning|content)":"[^"]')
WORD = re.compile(rb'"content":"[^"]')


class Client(asyncio.Protocol):
    """Sends streamed chat completions and records when text arrives, without parsing it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[Times] | None = None
        self._begun = self._visible = self._word = 0.0
        self._status = b""
        self._whole = False

    @classmethod
    async def to(cls, url: str) -> Client:
        place = urlsplit(url)
        _, client = await asyncio.get_running_loop().create_connection(cls, place.hostname, place.port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> asyncio.Future[Times]:
        """Send bytes from `request()`. Raises `ValueError` for an incomplete reply."""
        self._answer = asyncio.get_running_loop().create_future()
        self._visible = self._word = 0.0
        self._status, self._whole = b"", False
        self._begun = time.monotonic()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._status = self._status or data[:12]
        if not self._visible and VISIBLE.search(data):
            self._visible = now
        if not self._word and WORD.search(data):
            self._word = now
        self._whole = self._whole or b"data: [DONE]" in data
        if self._answer and (data.endswith(b"0\r\n\r\n") or not self._status.endswith(b" 200")):
            if not self._word or not self._whole:
                self._answer.set_exception(ValueError(f"no whole answer: {self._status!r} {data[-300:]!r}"))
            else:
                moments = (self._visible, self._word, now)
                self._answer.set_result(Times(*(moment - self._begun for moment in moments)))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(ValueError(f"the connection was closed: {error}"))

    def close(self) -> None:
        self._transport.close()


def request(model: str) -> bytes:
    """Return the bytes of a request for a streamed answer."""
    values = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    body = json.dumps(values).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
