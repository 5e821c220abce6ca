"""How answers leave: JSON, a stream of events that ends when its client does, and errors with the right status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.types import Receive, Scope, Send

from ..errors import ConfigError, ContextOverflow, LayerError, MissingKey, MoaError, ModelError, RequestError
from .admission import Busy
from .auth.keys import Denied
from .service import Draining, NoRun, NotFound, Unreadable

log = logging.getLogger("moa.server")

Body = TypeVar("Body", bound=BaseModel)


class BadBody(RequestError):
    """The body of a request is not what it should be. `param` is the place in it, such as messages.0.role."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class Problem:
    """An error as a client is told it, before it takes the shape of one protocol."""

    status: int
    kind: str
    message: str
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def problem(error: Exception) -> Problem:
    """What to tell a client of an error."""
    words = str(error)
    match error:
        case NoRun():
            return Problem(404, "invalid_request_error", words, "run_not_found")
        case NotFound():
            return Problem(404, "invalid_request_error", words, "model_not_found", "model")
        case Busy():
            headers = {"Retry-After": str(error.retry_after)}
            return Problem(429, "rate_limit_error", words, "too_many_requests", headers=headers)
        case Denied():
            headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
            kind, code = (
                ("rate_limit_error", "insufficient_quota") if error.status == 429 else ("permission_error", None)
            )
            return Problem(error.status, kind, words, code, headers=headers)
        case Draining():
            return Problem(503, "server_error", words, "shutting_down", headers={"Retry-After": "5"})
        case Unreadable():
            return Problem(500, "server_error", words)
        case ContextOverflow():
            return Problem(400, "invalid_request_error", words, "context_length_exceeded", "messages")
        case MissingKey():
            return Problem(502, "upstream_error", words, "missing_key")
        case RequestError() | ConfigError():
            return Problem(400, "invalid_request_error", words, param=getattr(error, "param", None))
        case LayerError():
            return Problem(502, "upstream_error", words, "too_few_proposals")
        case ModelError(status=429):
            wait = {} if error.retry_after is None else {"Retry-After": str(ceil(error.retry_after))}
            return Problem(429, "rate_limit_error", words, "upstream_rate_limit", headers=wait)
        case ModelError(status=400 | 413 | 422):
            return Problem(400, "invalid_request_error", words, "upstream_refused")
        case TimeoutError():
            return Problem(504, "server_error", words or "no answer in time", "timeout")
        case MoaError():
            return Problem(502, "upstream_error", words)
        case _:
            _log_once(error)
            return Problem(500, "server_error", f"a fault of the server: {type(error).__name__}")


def _log_once(error: Exception) -> None:
    """Say where a fault is; it may be told to several, and again to whoever asks how its run came out."""
    if "logged" not in vars(error):
        vars(error)["logged"] = True
        log.error("a fault of the server", exc_info=error)


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> HTTPResponse:
    """A JSON response."""
    return HTTPResponse(orjson.dumps(value), status, headers, "application/json")


async def parsed(request: HTTPRequest, model: type[Body]) -> Body:
    """The body of a request. Raises `RequestError` that names what is wrong."""
    data = await request.body()
    try:
        value = orjson.loads(data)
    except ValueError as error:
        raise BadBody(f"the body is not JSON: {error}") from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        field = found[0]["loc"][:1]
        first = max((one for one in found if one["loc"][:1] == field), key=lambda one: len(one["loc"]))
        place = ".".join(map(str, _place(first["loc"], value)))
        raise BadBody(f"{place or 'body'}: {first['msg'].removeprefix('Value error, ')}", place or None) from None


def _place(loc: Sequence[int | str], value: Any) -> Iterator[int | str]:
    """Where an error is, in the client's words: without the names of the alternatives that were tried."""
    for part in loc:
        if isinstance(value, dict) and part in value:
            value = value[str(part)]
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        elif not isinstance(value, dict) or part != loc[-1]:
            continue  # the name of an alternative; the last one may be a field that is missing
        yield part


class NoResponse(HTTPResponse):
    """Nothing is sent: the client has gone, or has been told all."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pass


async def unless_gone(receive: Receive, work: Awaitable[HTTPResponse]) -> HTTPResponse:
    """The response that the work gives, which is cancelled when the client goes away. Call it once the body has been
    read."""
    working = asyncio.current_task()
    assert working
    left = over = False

    def leave(_: object) -> None:
        nonlocal left
        if not over and not working.cancelling():
            left = True
            working.cancel()

    gone = asyncio.create_task(_gone(receive))
    gone.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if not left or working.uncancel():  # somebody else wants it to end
            raise
        return NoResponse()
    finally:
        over = True
        gone.cancel()


class StreamingReply(HTTPResponse):
    """A response in pieces. Its client going away cancels what makes them.

    Nothing is sent before the first piece, so an error before it has a status of its own (`failed` shapes it); while
    there is silence, `keep_alive` is sent every `every` seconds, which begins the response too. An error after that is
    told as `late` says, the last words of the stream.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        failed: Callable[[Exception], HTTPResponse],
        content_type: str = "text/event-stream; charset=utf-8",
        keep_alive: bytes = b": keep-alive\n\n",
        every: float = 5.0,
        headers: dict[str, str] | None = None,
        late: Callable[[Exception], bytes] | None = None,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self.headers["content-type"] = content_type
        self._chunks = chunks
        self._failed = failed
        self._late = late
        self._keep_alive = keep_alive
        self._every = every
        self._begun = False
        self._wrote = 0.0
        self._timer: asyncio.TimerHandle
        self._saying: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._wrote = asyncio.get_running_loop().time()
        self._look(send)
        try:
            sending = asyncio.create_task(self._sent(send))  # a task is woken quicker than all that stands around it
            response = await unless_gone(receive, sending)
        finally:
            self._quiet()
        await response(scope, receive, send)

    def _look(self, send: Send) -> None:
        """Break the silence if it has lasted long enough, and look again when it will have."""
        loop = asyncio.get_running_loop()
        if self._wrote + self._every <= loop.time():
            self._wrote = loop.time()
            if self._saying is None or self._saying.done():  # else the client does not read
                self._saying = loop.create_task(self._write(self._keep_alive, send))
        self._timer = loop.call_at(self._wrote + self._every, self._look, send)

    def _quiet(self) -> None:
        self._timer.cancel()
        if self._saying:
            self._saying.cancel()
            self._saying = None  # which holds its error, and that holds this

    async def _write(self, body: bytes, send: Send) -> None:
        self._wrote = asyncio.get_running_loop().time()
        if not self._begun:
            self._begun = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _sent(self, send: Send) -> HTTPResponse:
        """Send every piece; the response that is to be sent then, where none was."""
        try:
            async for body in self._chunks:
                await self._write(body, send)
        except Exception as error:
            if not self._begun:
                return self._failed(error)
            if self._late is None:
                raise
            await self._write(self._late(error), send)
        finally:
            self._quiet()
            if isinstance(self._chunks, AsyncGenerator):
                await self._chunks.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return NoResponse()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
