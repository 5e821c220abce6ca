"""A route that answers in OpenAI's way: a body comes in, and a whole reply or a stream goes out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..errors import failed
from ..responses import Body, StreamingReply, parsed, unless_gone
from ..service import RunRequest, Service


class Reply(Protocol):
    """One call being answered, whole or in pieces; `late` tells an error in a stream that has begun."""

    @property
    def asked(self) -> RunRequest: ...
    def whole(self, service: Service) -> Coroutine[Any, Any, HTTPResponse]: ...
    def chunks(self, service: Service) -> AsyncIterator[bytes]: ...
    def late(self, error: Exception) -> bytes: ...


def answer(path: str, service: Service, body: type[Body], understood: Callable[[Service, Body], Reply]) -> Route:
    """POST to a path. `understood` raises what is wrong with a body."""

    return Route(path, Endpoint(service, body, understood), methods=["POST"])


class Endpoint:
    """The application at one path."""

    def __init__(self, service: Service, body: type[Body], understood: Callable[[Service, Body], Reply]) -> None:
        self._service = service
        self._body = body
        self._understood = understood

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._response(HTTPRequest(scope, receive))
        await response(scope, receive, send)

    async def _response(self, http: HTTPRequest) -> HTTPResponse:
        service = self._service
        try:
            reply = self._understood(service, await parsed(http, self._body))
            if reply.asked.stream:
                return StreamingReply(reply.chunks(service), failed, every=service.table.keep_alive, late=reply.late)
            return await unless_gone(http.receive, reply.whole(service))
        except Exception as error:
            return failed(error)
