"""What stands before every route: by which name the server was called, from which page, with which key, how much.

Nothing here decides by the path. What needs no key is routed before `AuthMiddleware`, and whatever else a path may say
ends behind it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response as HTTPResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...config.schema import ServerTable
from ..auth.keys import Keys, caller
from .request_log import current

DEPTH = 64
"""How deep the JSON of a request may be nested."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def refusal(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> HTTPResponse:
    """An error that OpenAI's clients and Anthropic's both can read."""
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(
        status, "invalid_request_error"
    )
    body = {"type": "error", "error": {"message": message, "type": kind, "param": None, "code": code}}
    return HTTPResponse(orjson.dumps(body), status, headers, "application/json")


class HostAndOriginMiddleware:
    """Turns away what was meant for another host (DNS rebinding) or comes from a web page of another origin."""

    def __init__(self, app: ASGIApp, table: Callable[[], ServerTable]) -> None:
        self._app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return None  # there is nothing here but HTTP
        table, headers = self._table(), Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not known_host(hosts[0], (*table.allowed_hosts, table.host)):
            told = "this host name is not known here; add it to hosts in [server]"
            return await refusal(403, told, "unknown_host")(scope, receive, send)
        if not origins:
            return await self._app(scope, receive, send)
        if len(origins) > 1 or not _known_origin(origins[0], hosts[0], table.allowed_origins):
            told = "web pages of this origin may not ask here; add it to origins in [server]"
            return await refusal(403, told, "unknown_origin")(scope, receive, send)
        shared = {"Access-Control-Allow-Origin": origins[0], "Vary": "Origin"}
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            shared["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
            shared["Access-Control-Allow-Headers"] = headers.get("access-control-request-headers", "*")
            shared["Access-Control-Max-Age"] = "600"
            return await HTTPResponse(None, 204, shared)(scope, receive, send)

        async def sharing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(shared)
            await send(message)

        return await self._app(scope, receive, sharing)


class AuthMiddleware:
    """Lets in who has a key, where keys are required."""

    def __init__(self, app: ASGIApp, keys: Callable[[], Keys]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keys = self._keys()
        if not keys.required:
            return await self._app(scope, receive, send)
        presented = credentials(scope["headers"])
        key = keys.find(presented) if presented else None
        if key is None:
            told = "this key is not known here" if presented else "a key is needed: Authorization: Bearer KEY"
            answer = refusal(401, told, "invalid_api_key", {"WWW-Authenticate": "Bearer"})
            return await answer(scope, receive, send)
        current().key = key.name
        token = caller.set(key)
        try:
            return await self._app(scope, receive, send)
        finally:
            caller.reset(token)


def credentials(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The one key that a request presents, as a Bearer token or as x-api-key; `None` where it is not one."""
    told = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            told.add(token if scheme.lower() == b"bearer" else b"")
        elif name == b"x-api-key":
            told.add(value)
    return told.pop() if len(told) == 1 else None


class BodyLimitMiddleware:
    """Reads the body of a request before anybody else does: not more than is allowed, not deeper, and not for ever."""

    def __init__(
        self, app: ASGIApp, table: Callable[[], ServerTable], idle: float = 30.0, whole: float = 300.0
    ) -> None:
        self._app = app
        self._table = table
        self._idle = idle
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = self._table().max_body_bytes
        headers = Headers(scope=scope)
        told = headers.get("content-length", "0")
        if int(told) > most if told.isdecimal() else True:
            return await _too_large(most)(scope, receive, send)
        if told == "0" and "transfer-encoding" not in headers:
            return await self._app(scope, receive, send)
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._whole):
                while more:
                    async with asyncio.timeout(self._idle):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    more = message.get("more_body", False)
                    if size > most:
                        return await _too_large(most)(scope, receive, send)
        except TimeoutError:
            told = "the body did not come in time"
            return await refusal(408, told, "timeout", {"Connection": "close"})(scope, receive, send)
        body = b"".join(parts)
        if too_deep(body):
            told = f"the body is nested deeper than {DEPTH} levels"
            return await refusal(400, told, "too_deep")(scope, receive, send)
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Message:
            return waiting.pop() if waiting else await receive()

        return await self._app(scope, replayed, send)


def too_deep(body: bytes, depth: int = DEPTH) -> bool:
    """Whether a JSON text is nested deeper than this."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    rest = _STRING.sub(b"", body).translate(_BRACKETS, _OTHERS)
    for _ in range(depth):  # each round takes away what is innermost
        rest = rest.replace(b"[]", b"")
        if not rest:
            return False
    return True


@lru_cache(1024)
def known_host(told: str, hosts: tuple[str, ...]) -> bool:
    """Whether this Host header names this server. An address of digits is nobody's name, so it is nobody else's."""
    try:
        host = (urlsplit(f"//{told}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if not re.fullmatch(r"[\w.:\[\]-]+", told):
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


def _too_large(most: int) -> HTTPResponse:
    return refusal(413, f"the body is larger than {most} bytes", "too_large", {"Connection": "close"})
