"""ASGI middleware for W3C trace context: the run of a request with `traceparent` becomes part of that trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from ...telemetry import Telemetry


class TraceContextMiddleware:
    """Enters the trace context of each request."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", ())}
        if "traceparent" not in headers:
            return await self._app(scope, receive, send)
        with self._telemetry.within(headers):
            return await self._app(scope, receive, send)
