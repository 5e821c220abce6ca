"""The web page: what was built from `web/` into `moa/web`, or where it was not, a page that says how to build it.

Nothing of it is secret, so it is served without a key; the page itself asks for one when the API does.
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
"""What the page may do: load what this server serves and talk to this server, and nothing written into it by others."""

GUARDS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

UNBUILT = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>moa</title>
<h1>moa is here</h1>
<p>The web page is not built in this checkout. With Node.js 20 or newer one command builds it, then load this again:</p>
<pre>npm --prefix web ci &amp;&amp; npm --prefix web run build</pre>
<p>Everything else works without it; <a href="/openapi.json">/openapi.json</a> describes the API.</p>
"""


class PageAt(Route):
    """A route for whoever wants a page there, as browsers say they do; others find what else is at this path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and "text/html" not in Headers(scope=scope).get("accept", ""):
            return Match.NONE, {}
        match, child = super().matches(scope)
        return (match, child) if match is Match.FULL else (Match.NONE, {})


class Built(NamedTuple):
    """A file of the page, as it is sent."""

    body: bytes
    packed: bytes
    kind: str
    tag: str


def routes(folder: Path = BUILT) -> list[Route]:
    """GET / for browsers, GET /ui/{path}."""
    read = cache(lambda name: _read(folder / name))

    async def start(http: HTTPRequest) -> HTTPResponse:
        if not (folder / "index.html").is_file():
            return HTTPResponse(UNBUILT, 200, {**GUARDS, "Cache-Control": "no-store"}, "text/html")
        # Not from the cache: it is small, and a page that is built anew is seen without a new start.
        return _sent(http, _read(folder / "index.html"), "no-cache")

    async def part(http: HTTPRequest) -> HTTPResponse:
        name = http.path_params["name"]
        if not _is_file(folder / "assets", name):
            return HTTPResponse("there is no such part of the page", 404, GUARDS, "text/plain")
        return _sent(http, read(f"assets/{name}"), "public, max-age=31536000, immutable")

    async def moved(http: HTTPRequest) -> HTTPResponse:
        return RedirectResponse("/", 308)

    return [
        PageAt("/", start, methods=["GET"]),
        Route("/ui", moved, methods=["GET"]),
        Route("/ui/", moved, methods=["GET"]),
        Route("/ui/assets/{name}", part, methods=["GET"]),
    ]


def _is_file(folder: Path, name: str) -> bool:
    """Whether there is a file of exactly this name; what else a name may say is no file's name."""
    return folder.is_dir() and any(name == file.name for file in folder.iterdir())


def _read(file: Path) -> Built:
    body = file.read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Built(body, gzip.compress(body, 9, mtime=0), KINDS[file.suffix], tag)


def _sent(http: HTTPRequest, built: Built, cached: str) -> HTTPResponse:
    headers = {**GUARDS, "Cache-Control": cached, "ETag": built.tag, "Vary": "Accept, Accept-Encoding"}
    if http.headers.get("if-none-match") == built.tag:
        return HTTPResponse(None, 304, headers)
    if "gzip" in http.headers.get("accept-encoding", ""):
        return HTTPResponse(built.packed, 200, {**headers, "Content-Encoding": "gzip"}, built.kind)
    return HTTPResponse(built.body, 200, headers, built.kind)
