"""Errors in OpenAI's shape, whole or as the last event of a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .responses import json, problem


def failed(error: Exception) -> HTTPResponse:
    """An error in OpenAI's shape."""
    told = problem(error)
    return json(error_body(error), told.status, told.headers)


def error_body(error: Exception) -> dict[str, Any]:
    told = problem(error)
    return shaped(told.message, told.kind, told.code, told.param)


def shaped(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def late(error: Exception) -> bytes:
    """An error as the last event of a stream that had begun."""
    return sse(error_body(error)) + b"data: [DONE]\n\n"


def sse(value: Any) -> bytes:
    """One server-sent event of JSON."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def blank(event: bytes, places: int) -> Callable[[str], bytes]:
    """Fills words into the last empty strings of an event, so that the rest of it is written as JSON only once."""
    parts = event.rsplit(b'""', places)
    return lambda words: orjson.dumps(words).join(parts)


class ErrorMiddleware:
    """An application around routes: it answers where none of them fits."""

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
            told, code = f"{path} does not take {scope['method']}", "method_not_allowed"
        else:
            told, code = f"there is no {path} here; GET /openapi.json lists what there is", "not_found"
        answer = json(shaped(told, "invalid_request_error", code), refused.status_code, dict(refused.headers or {}))
        return await answer(scope, receive, send)
