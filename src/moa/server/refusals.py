"""Errors in OpenAI's shape, whole or as the last event of a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse

from .replies import json, problem


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


async def no_such_path(http: HTTPRequest, error: Exception) -> HTTPResponse:
    """The answer to a path that is not there."""
    told = f"there is no {http.url.path} here; GET /openapi.json lists what there is"
    return json(shaped(told, "invalid_request_error", "not_found"), 404)


async def no_such_method(http: HTTPRequest, error: Exception) -> HTTPResponse:
    """The answer to a method that a path does not take."""
    told = f"{http.url.path} does not take {http.method}"
    headers = getattr(error, "headers", None)
    return json(shaped(told, "invalid_request_error", "method_not_allowed"), 405, headers)
