"""ASGI middleware for access: Host and Origin headers, keys, and limits of a body.

None of it depends on the path. Routes without a key come before `AuthMiddleware`; every other path is behind it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response as HTTPResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...config.schema import ServerTable
from ..auth.keys import Keys, caller
from .request_log import current

MAX_DEPTH = 64
"""The deepest nesting of a request's JSON."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def refuse(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> HTTPResponse:
    """Return an error that OpenAI's and Anthropic's clients both read."""
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(
        status, "invalid_request_error"
    )
    body = {"type": "error", "error": {"message": message, "type": kind, "param": None, "code": code}}
    return HTTPResponse(orjson.dumps(body), status, headers, "application/json")


class HostAndOriginMiddleware:
    """Rejects requests for another host (DNS rebinding), and from web pages of another origin."""

    def __init__(self, app: ASGIApp, table: Callable[[], ServerTable]) -> None:
        self._app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return None  # only HTTP is served
        table, headers = self._table(), Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not known_host(hosts[0], (*table.allowed_hosts, table.host)):
            problem = "Host: unknown host name; add it to allowed_hosts in [server]"
            return await refuse(403, problem, "unknown_host")(scope, receive, send)
        if not origins:
            return await self._app(scope, receive, send)
        if len(origins) > 1 or not _known_origin(origins[0], hosts[0], table.allowed_origins):
            problem = "Origin: unknown origin; add it to allowed_origins in [server]"
            return await refuse(403, problem, "unknown_origin")(scope, receive, send)
        cors = {"Access-Control-Allow-Origin": origins[0], "Vary": "Origin"}
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            cors["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
            cors["Access-Control-Allow-Headers"] = headers.get("access-control-request-headers", "*")
            cors["Access-Control-Max-Age"] = "600"
            return await HTTPResponse(None, 204, cors)(scope, receive, send)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(cors)
            await send(message)

        return await self._app(scope, receive, send_with_cors)


class AuthMiddleware:
    """Rejects requests without a valid key, if keys are required."""

    def __init__(self, app: ASGIApp, keys: Callable[[], Keys]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keys = self._keys()
        if not keys.required:
            return await self._app(scope, receive, send)
        secret = credentials(scope["headers"])
        key = keys.find(secret) if secret else None
        if key is None:
            message = "invalid API key" if secret else "missing API key; send Authorization: Bearer KEY"
            response = refuse(401, message, "invalid_api_key", {"WWW-Authenticate": "Bearer"})
            return await response(scope, receive, send)
        current().key = key.name
        token = caller.set(key)
        try:
            return await self._app(scope, receive, send)
        finally:
            caller.reset(token)


def credentials(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Return the key of a request, a Bearer token or x-api-key; `None` unless there is exactly one."""
    secrets = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            secrets.add(token if scheme.lower() == b"bearer" else b"")
        elif name == b"x-api-key":
            secrets.add(value)
    return secrets.pop() if len(secrets) == 1 else None


class BodyLimitMiddleware:
    """Reads the whole body of a request, with limits on its size, its nesting and the time it takes."""

    def __init__(
        self, app: ASGIApp, table: Callable[[], ServerTable], idle_timeout: float = 30.0, timeout: float = 300.0
    ) -> None:
        self._app = app
        self._table = table
        self._idle_timeout = idle_timeout
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._table().max_body_bytes
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            if "expect" not in headers:  # such a client waits for the answer before it sends the body
                await _discard(receive)
            return await _too_large(limit)(scope, receive, send)
        if length == "0" and "transfer-encoding" not in headers:
            return await self._app(scope, receive, send)
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._timeout):
                while more:
                    async with asyncio.timeout(self._idle_timeout):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    more = message.get("more_body", False)
                    if size > limit:
                        if more:
                            await _discard(receive)
                        return await _too_large(limit)(scope, receive, send)
        except TimeoutError:
            problem = "body: not received in time"
            return await refuse(408, problem, "timeout", {"Connection": "close"})(scope, receive, send)
        body = b"".join(parts)
        if too_deep(body):
            problem = f"body: nested deeper than {MAX_DEPTH} levels"
            return await refuse(400, problem, "too_deep")(scope, receive, send)
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        return await self._app(scope, replay, send)


async def _discard(receive: Receive, limit: int = 2**20, timeout: float = 1.0) -> None:
    """Read the rest of a body that is refused, within limits.

    A connection that is closed with unread data is reset, and the client may lose the response that says why.
    """
    size, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            while more and size < limit:
                message = await receive()
                size += len(message.get("body", b""))
                more = message["type"] == "http.request" and message.get("more_body", False)


def too_deep(body: bytes, depth: int = MAX_DEPTH) -> bool:
    """Whether a JSON text is nested deeper than `depth`."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    rest = _STRING.sub(b"", body).translate(_BRACKETS, _OTHERS)
    for _ in range(depth):  # each round removes the innermost brackets
        rest = rest.replace(b"[]", b"")
        if not rest:
            return False
    return True


@lru_cache(1024)
def known_host(value: str, hosts: tuple[str, ...]) -> bool:
    """Whether a Host header names this server. A numeric address is always accepted: DNS rebinding needs a name."""
    try:
        host = (urlsplit(f"//{value}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if not re.fullmatch(r"[\w.:\[\]-]+", value):
        return False
    if host in ("localhost", *(one.lower() for one in hosts)) or "*" in hosts or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _known_origin(origin: str, host: str, origins: Sequence[str]) -> bool:
    return (
        origin in origins or "*" in origins or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
    )


def _too_large(limit: int) -> HTTPResponse:
    return refuse(413, f"body: larger than {limit} bytes", "too_large", {"Connection": "close"})
