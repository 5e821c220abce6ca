"""HTTP bodies: JSON read and checked, JSON sent, and streams that end when their client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.types import Receive, Scope, Send

from ..config.messages import path_of
from ..errors import RequestError

Body = TypeVar("Body", bound=BaseModel)


class InvalidParam(RequestError):
    """An invalid field of a request. `param` is its path, such as messages.0.role, or `None` for the whole body."""

    def __init__(self, param: str | None, message: str) -> None:
        super().__init__(f"{param or 'body'}: {message}")
        self.param = param


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> HTTPResponse:
    """Return a JSON response."""
    return HTTPResponse(orjson.dumps(value), status, headers, "application/json")


def sse(value: Any) -> bytes:
    """Return a server-sent event of JSON."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def blank(event: bytes, count: int) -> Callable[[str], bytes]:
    """Return a function that fills its text into the last `count` empty strings of an event.

    The rest of the event is serialized once for the whole stream, which keeps the CPU time of a chunk small.
    """
    parts = event.rsplit(b'""', count)
    return lambda text: orjson.dumps(text).join(parts)


async def parse(request: HTTPRequest, model: type[Body]) -> Body:
    """Return the body of a request. Raises `InvalidParam`."""
    data = await request.body()
    try:
        value = orjson.loads(data)
    except ValueError as error:
        raise InvalidParam(None, f"not JSON: {error}") from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        field = errors[0]["loc"][:1]
        deepest = max((one for one in errors if one["loc"][:1] == field), key=lambda one: len(one["loc"]))
        param = ".".join(map(str, _path(path_of(deepest), value)))
        raise InvalidParam(param or None, deepest["msg"].removeprefix("Value error, ")) from None


def _path(loc: Sequence[int | str], value: Any) -> Iterator[int | str]:
    """Yield the path of an error in the body, without the names that pydantic gives the members of a union."""
    for part in loc:
        if isinstance(value, dict) and part in value:
            value = value[str(part)]
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        elif not isinstance(value, dict) or part != loc[-1]:
            continue  # a member of a union; the last part may be a missing field
        yield part


class NoResponse(HTTPResponse):
    """A response that sends nothing: the client has disconnected, or everything has been sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pass


async def cancel_on_disconnect(receive: Receive, work: Awaitable[HTTPResponse]) -> HTTPResponse:
    """Return the response of `work`, and cancel it when the client disconnects. Read the request's body first."""
    task = asyncio.current_task()
    assert task
    disconnected = done = False

    def cancel(_: object) -> None:
        nonlocal disconnected
        if not done and not task.cancelling():
            disconnected = True
            task.cancel()

    waiter = asyncio.create_task(_disconnect(receive))
    waiter.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if not disconnected or task.uncancel():  # cancelled from outside
            raise
        return NoResponse()
    finally:
        done = True
        waiter.cancel()


class StreamingReply(HTTPResponse):
    """A response sent in chunks. When its client disconnects, the source of the chunks is cancelled.

    Nothing is sent before the first chunk, so that an error before it has a status of its own (`error_response`).
    During a silence, `ping` is sent every `interval` seconds; this starts the response too. An error after the start is
    sent as `error_event`, the last chunk of the stream.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        error_response: Callable[[Exception], HTTPResponse],
        content_type: str = "text/event-stream; charset=utf-8",
        ping: bytes = b": keep-alive\n\n",
        interval: float = 5.0,
        headers: dict[str, str] | None = None,
        error_event: Callable[[Exception], bytes] | None = None,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self.headers["content-type"] = content_type
        self._chunks = chunks
        self._error_response = error_response
        self._error_event = error_event
        self._ping = ping
        self._interval = interval
        self._started = False
        self._last_write = 0.0
        self._timer: asyncio.TimerHandle
        self._pinging: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._last_write = asyncio.get_running_loop().time()
        self._check_silence(send)
        try:
            sending = asyncio.create_task(self._send_all(send))  # a task of its own wakes faster than the middleware
            response = await cancel_on_disconnect(receive, sending)
        finally:
            self._stop_pings()
        await response(scope, receive, send)

    def _check_silence(self, send: Send) -> None:
        """Send a ping if the silence has lasted `interval` seconds, and schedule the next check."""
        loop = asyncio.get_running_loop()
        if self._last_write + self._interval <= loop.time():
            self._last_write = loop.time()
            if self._pinging is None or self._pinging.done():  # else the client does not read
                self._pinging = loop.create_task(self._write(self._ping, send))
        self._timer = loop.call_at(self._last_write + self._interval, self._check_silence, send)

    def _stop_pings(self) -> None:
        self._timer.cancel()
        if self._pinging:
            self._pinging.cancel()
            self._pinging = None  # its exception has a traceback that refers to this response

    async def _write(self, body: bytes, send: Send) -> None:
        self._last_write = asyncio.get_running_loop().time()
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _send_all(self, send: Send) -> HTTPResponse:
        """Send every chunk. Return the response still to be sent: an error before the first chunk, else nothing."""
        try:
            async for body in self._chunks:
                await self._write(body, send)
        except Exception as error:
            if not self._started:
                return self._error_response(error)
            if self._error_event is None:
                raise
            await self._write(self._error_event(error), send)
        finally:
            self._stop_pings()
            if isinstance(self._chunks, AsyncGenerator):
                await self._chunks.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return NoResponse()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
