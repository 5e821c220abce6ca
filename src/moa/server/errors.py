"""Errors as clients see them: a status, OpenAI's error object, and routes that answer exceptions with it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import ceil

from starlette.exceptions import HTTPException
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import TypedDict

from ..errors import ConfigError, ContextOverflow, LayerError, MissingKey, MoaError, ModelError, RequestError
from .admission import Busy
from .auth.keys import Denied
from .http import json, sse
from .service import ModelNotFound, RunNotFound, ShuttingDown, StoreUnreadable

log = logging.getLogger("moa.server")

Handler = Callable[[HTTPRequest], Awaitable[HTTPResponse]]
ErrorResponse = Callable[[Exception], HTTPResponse]
"""Returns the response for an exception, in the error shape of one protocol."""


class ErrorDetailJSON(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBodyJSON(TypedDict):
    """An error in OpenAI's shape."""

    error: ErrorDetailJSON


@dataclass(frozen=True)
class Problem:
    """An error as a client sees it, before it takes the shape of one protocol."""

    status: int
    kind: str
    message: str
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def problem(error: Exception) -> Problem:
    """Return the status, the kind and the message for an exception."""
    message = str(error)
    match error:
        case RunNotFound():
            return Problem(404, "invalid_request_error", message, "run_not_found")
        case ModelNotFound():
            return Problem(404, "invalid_request_error", message, "model_not_found", "model")
        case Busy():
            headers = {"Retry-After": str(error.retry_after)}
            return Problem(429, "rate_limit_error", message, "too_many_requests", headers=headers)
        case Denied():
            headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
            kind, code = (
                ("rate_limit_error", "insufficient_quota") if error.status == 429 else ("permission_error", None)
            )
            return Problem(error.status, kind, message, code, headers=headers)
        case ShuttingDown():
            return Problem(503, "server_error", message, "shutting_down", headers={"Retry-After": "5"})
        case StoreUnreadable():
            return Problem(500, "server_error", message)
        case ContextOverflow():
            return Problem(400, "invalid_request_error", message, "context_length_exceeded", "messages")
        case MissingKey():
            return Problem(502, "upstream_error", message, "missing_key")
        case RequestError() | ConfigError():
            return Problem(400, "invalid_request_error", message, param=getattr(error, "param", None))
        case LayerError():
            return Problem(502, "upstream_error", message, "too_few_proposals")
        case ModelError(status=429):
            wait = {} if error.retry_after is None else {"Retry-After": str(ceil(error.retry_after))}
            return Problem(429, "rate_limit_error", message, "upstream_rate_limit", headers=wait)
        case ModelError(status=400 | 413 | 422):
            return Problem(400, "invalid_request_error", message, "upstream_refused")
        case TimeoutError():
            return Problem(504, "server_error", message or "no answer in time", "timeout")
        case MoaError():
            return Problem(502, "upstream_error", message)
        case _:
            _log_once(error)
            return Problem(500, "server_error", f"internal server error ({type(error).__name__})")


def _log_once(error: Exception) -> None:
    """Log an internal error. Several clients may receive the same one, and again when they read its run."""
    if "logged" not in vars(error):  # builtin exceptions cannot be kept in a weak set
        vars(error)["logged"] = True
        log.error("internal server error", exc_info=error)


def error_response(error: Exception) -> HTTPResponse:
    """Return an error in OpenAI's shape."""
    found = problem(error)
    return json(error_object(found.message, found.kind, found.code, found.param), found.status, found.headers)


def error_event(error: Exception) -> bytes:
    """Return an error as the last event of a stream that has begun."""
    found = problem(error)
    return sse(error_object(found.message, found.kind, found.code, found.param)) + b"data: [DONE]\n\n"


def error_object(message: str, kind: str, code: str | None = None, param: str | None = None) -> ErrorBodyJSON:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def route(path: str, handler: Handler, method: str = "GET", error_response: ErrorResponse = error_response) -> Route:
    """Return a route that answers every exception of its handler with `error_response`."""

    async def handle(http: HTTPRequest) -> HTTPResponse:
        try:
            return await handler(http)
        except Exception as error:
            return error_response(error)

    return Route(path, handle, methods=[method])


class ErrorMiddleware:
    """ASGI middleware that answers 404 and 405 where no route matches."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # else routes answer for themselves, in plain text
        try:
            return await self._app(scope, receive, send)
        except HTTPException as error:
            refused = error
        path = HTTPRequest(scope).url.path
        if refused.status_code == 405:
            message, code = f"{path}: method not allowed, got {scope['method']}", "method_not_allowed"
        else:
            message, code = f"{path}: path not found; GET /openapi.json lists all paths", "not_found"
        body = error_object(message, "invalid_request_error", code)
        response = json(body, refused.status_code, dict(refused.headers or {}))
        return await response(scope, receive, send)
