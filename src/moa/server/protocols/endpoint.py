"""The endpoint of a call for an answer: parse a body, then reply whole or as a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .. import errors
from ..errors import ErrorResponse
from ..http import Body, StreamingReply, cancel_on_disconnect, parse
from ..service import Service


class Reply(ABC):
    """The reply to one call. Subclasses are the protocols; the defaults here are OpenAI's."""

    media_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    @property
    def ping(self) -> bytes:
        """What is sent while there is nothing else to send."""
        return b": keep-alive\n\n"

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a stream."""
        return {}

    @property
    @abstractmethod
    def streams(self) -> bool:
        """Whether the client wants a stream."""

    @abstractmethod
    async def whole(self, service: Service) -> HTTPResponse:
        """Return the whole reply."""

    @abstractmethod
    def chunks(self, service: Service) -> AsyncIterator[bytes]:
        """Yield the reply as a stream."""

    def error_event(self, error: Exception) -> bytes:
        """Return an error as the last event of a stream that has begun."""
        return errors.error_event(error)


class Endpoint:
    """An ASGI application that answers calls of one kind.

    `reply` returns the reply to a body, or raises what is wrong with it. `error_response` gives every error before the
    first byte the shape of the protocol.
    """

    def __init__(
        self,
        service: Service,
        body: type[Body],
        reply: Callable[[Service, Body], Reply | HTTPResponse],
        error_response: ErrorResponse = errors.error_response,
    ) -> None:
        self._service = service
        self._body = body
        self._reply: Callable[[Service, Any], Reply | HTTPResponse] = reply
        self._error_response = error_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._response(HTTPRequest(scope, receive))
        await response(scope, receive, send)

    async def _response(self, http: HTTPRequest) -> HTTPResponse:
        service = self._service
        try:
            reply = self._reply(service, await parse(http, self._body))
            if isinstance(reply, HTTPResponse):
                return reply
            if not reply.streams:
                return await cancel_on_disconnect(http.receive, reply.whole(service))
            return StreamingReply(
                reply.chunks(service),
                self._error_response,
                reply.media_type,
                reply.ping,
                service.table.sse_ping_interval,
                reply.headers,
                reply.error_event,
            )
        except Exception as error:
            return self._error_response(error)


def answer(
    path: str,
    service: Service,
    body: type[Body],
    reply: Callable[[Service, Body], Reply | HTTPResponse],
    error_response: ErrorResponse = errors.error_response,
) -> Route:
    """Return the route of POST to a path that `Endpoint` answers."""
    return Route(path, Endpoint(service, body, reply, error_response), methods=["POST"])
