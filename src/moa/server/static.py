"""The web page: the files built from `web/` into `moa/web`, or a page that says how to build them.

The page is not secret, so it is served without a key. It asks for one when the API does.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request as HTTPRequest
from starlette.responses import RedirectResponse
from starlette.responses import Response as HTTPResponse
from starlette.routing import Match, Route
from starlette.types import Scope

BUILT = Path(__file__).parents[1] / "web"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types svelte-trusted-html dompurify",
    )
)
"""The page may load and call this server only, and run no script that was injected into it."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

UNBUILT = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>moa</title>
<h1>moa is running</h1>
<p>The web page is not built in this checkout. Build it with Node.js 20 or newer, then reload:</p>
<pre>npm --prefix web ci &amp;&amp; npm --prefix web run build</pre>
<p>Everything else works without it; <a href="/openapi.json">/openapi.json</a> describes the API.</p>
"""


class HTMLRoute(Route):
    """A route that matches only requests that accept HTML; others go on to the next route of the path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and "text/html" not in Headers(scope=scope).get("accept", ""):
            return Match.NONE, {}
        match, child = super().matches(scope)
        return (match, child) if match is Match.FULL else (Match.NONE, {})


class StaticFile(NamedTuple):
    """A file of the page, ready to send."""

    body: bytes
    gzipped: bytes
    media_type: str
    etag: str


def routes(folder: Path = BUILT) -> list[Route]:
    """GET / for browsers, GET /ui/{path}."""
    read = cache(lambda name: _read(folder / name))

    async def start(http: HTTPRequest) -> HTTPResponse:
        if not (folder / "index.html").is_file():
            return HTTPResponse(UNBUILT, 200, {**HEADERS, "Cache-Control": "no-store"}, "text/html")
        # Read each time: it is small, and a new build shows without a restart.
        return _sent(http, _read(folder / "index.html"), "no-cache")

    async def part(http: HTTPRequest) -> HTTPResponse:
        name = http.path_params["name"]
        if not _is_file(folder / "assets", name):
            return HTTPResponse("file not found", 404, HEADERS, "text/plain")
        return _sent(http, read(f"assets/{name}"), "public, max-age=31536000, immutable")

    async def moved(http: HTTPRequest) -> HTTPResponse:
        return RedirectResponse("/", 308)

    return [
        HTMLRoute("/", start, methods=["GET"]),
        Route("/ui", moved, methods=["GET"]),
        Route("/ui/", moved, methods=["GET"]),
        Route("/ui/assets/{name}", part, methods=["GET"]),
    ]


def _is_file(folder: Path, name: str) -> bool:
    """Whether the folder lists a file of exactly this name, so that no name can leave the folder."""
    return folder.is_dir() and any(name == file.name for file in folder.iterdir())


def _read(file: Path) -> StaticFile:
    body = file.read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return StaticFile(body, gzip.compress(body, 9, mtime=0), MEDIA_TYPES[file.suffix], tag)


def _sent(http: HTTPRequest, built: StaticFile, cache_control: str) -> HTTPResponse:
    headers = {**HEADERS, "Cache-Control": cache_control, "ETag": built.etag, "Vary": "Accept, Accept-Encoding"}
    if http.headers.get("if-none-match") == built.etag:
        return HTTPResponse(None, 304, headers)
    if "gzip" in http.headers.get("accept-encoding", ""):
        return HTTPResponse(built.gzipped, 200, {**headers, "Content-Encoding": "gzip"}, built.media_type)
    return HTTPResponse(built.body, 200, headers, built.media_type)
