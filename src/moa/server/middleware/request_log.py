"""One HTTP request from its arrival to its last byte, told once at its end: for the log and for the metrics.

A visit holds no words of a question or an answer, no header and no path that a client made up, so it can be written
down anywhere.
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
    """What is known of one request. `route` is the pattern that matched, never the path as it was sent."""

    method: str
    route: str = "-"
    status: int = 0  # 0: the client went away before a status was sent
    model: str | None = None
    run: str | None = None
    key: str | None = None  # the name of the client's key
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        told = [self.method, self.route, str(self.status) if self.status else "gone", f"{self.seconds:.3f}s"]
        told += [
            f"{name}={value}"
            for name, value in (("run", self.run), ("model", self.model), ("key", self.key))
            if value is not None
        ]
        return " ".join(told)


_current: ContextVar[RequestLogEntry] = ContextVar("visit")


def current() -> RequestLogEntry:
    """The visit being served; one of its own where there is none, as in a test of a single function."""
    try:
        return _current.get()
    except LookupError:
        return RequestLogEntry("-")


class RequestLog:
    """An application around an application: it tells `ended` each visit when it is over.

    Every request gets a name, `x-request-id`, so that a client can say which one it speaks of.
    """

    def __init__(self, app: ASGIApp, ended: Sequence[Callable[[RequestLogEntry], None]]) -> None:
        self._app = app
        self._ended = tuple(ended)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        visit = RequestLogEntry(scope["method"])
        token = _current.set(visit)

        async def noticed(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                MutableHeaders(scope=message).setdefault("x-request-id", f"req_{os.urandom(12).hex()}")
            await send(message)

        try:
            await self._app(scope, receive, noticed)
        except Exception:
            visit.status = visit.status or 500
            raise
        finally:
            _current.reset(token)
            visit.seconds = time.perf_counter() - visit.began
            visit.route = getattr(scope.get("route"), "path", "") or visit.route
            for ended in self._ended:
                ended(visit)


def logged(visit: RequestLogEntry) -> None:
    """One line in the log. What only asks whether the server is alive is not worth one."""
    level = logging.DEBUG if visit.route in ("/healthz", "/readyz", "/metrics") else logging.INFO
    log.log(level, "%s", visit, extra={"visit": visit})
