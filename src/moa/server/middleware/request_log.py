"""The request log: one entry per HTTP request, made at its end, for the log and the metrics.

An entry has no text of a question or an answer, no header and no path that a client made up, so it is safe to store.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("moa.server")


@dataclass(eq=False)
class RequestLogEntry:
    """The entry of one request. `route` is the pattern that matched, never the path of the request."""

    method: str
    route: str = "-"
    status: int = 0  # 0: the client disconnected before a status was sent
    model: str | None = None
    run: str | None = None
    key: str | None = None  # the name of the client's key
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = [self.method, self.route, str(self.status) if self.status else "gone", f"{self.seconds:.3f}s"]
        parts += [
            f"{name}={value}"
            for name, value in (("run", self.run), ("model", self.model), ("key", self.key))
            if value is not None
        ]
        return " ".join(parts)


_current: ContextVar[RequestLogEntry] = ContextVar("entry")


def current() -> RequestLogEntry:
    """Return the entry of the present request, or a new one outside of a request."""
    try:
        return _current.get()
    except LookupError:
        return RequestLogEntry("-")


class RequestLog:
    """ASGI middleware that passes the entry of each finished request to the `observers`.

    Every response gets an `x-request-id` that a client can refer to.
    """

    def __init__(self, app: ASGIApp, observers: Sequence[Callable[[RequestLogEntry], None]]) -> None:
        self._app = app
        self._observers = tuple(observers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        entry = RequestLogEntry(scope["method"])
        token = _current.set(entry)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                MutableHeaders(scope=message).setdefault("x-request-id", f"req_{os.urandom(12).hex()}")
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            entry.status = entry.status or 500
            raise
        finally:
            _current.reset(token)
            entry.seconds = time.perf_counter() - entry.began
            entry.route = getattr(scope.get("route"), "path", "") or entry.route
            for observer in self._observers:
                observer(entry)


def log_request(entry: RequestLogEntry) -> None:
    """Log a request. Probes are logged at debug level."""
    level = logging.DEBUG if entry.route in ("/healthz", "/readyz", "/metrics") else logging.INFO
    log.log(level, "%s", entry, extra={"entry": entry})
