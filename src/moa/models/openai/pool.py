"""One pool of connections for each event loop, kept open between calls and closed with the loop."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

_pools: dict[asyncio.AbstractEventLoop, tuple[aiohttp.ClientSession, AsyncGenerator[aiohttp.ClientSession, None]]] = {}

_way: ContextVar[Way] = ContextVar("way")


@dataclass
class Way:
    """The connection of a call: one that an earlier call used, or a new one."""

    reused: bool = True

    @staticmethod
    def taken() -> Way:
        """Return the connection of the call that this task makes next."""
        way = Way()
        _way.set(way)
        return way


async def connections() -> aiohttp.ClientSession:
    """Return the pool of the running loop. It has no limit: limits belong to providers (`max_concurrency`)."""
    loop = asyncio.get_running_loop()
    if loop not in _pools:
        pool = _opened()
        _pools[loop] = await anext(pool), pool
    return _pools[loop][0]


async def _opened() -> AsyncGenerator[aiohttp.ClientSession, None]:
    """Open a pool. It is a generator because a loop that shuts down closes its asynchronous generators.

    No cookies, and no `trust_env`, which would let a `.netrc` replace the key. `proxy_of` finds the proxy.
    """
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=60, socket_factory=_opened_socket)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    try:
        yield session
    finally:
        del _pools[asyncio.get_running_loop()]
        await session.close()


def _opened_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Open a socket and report it to the call that opens it, at a quarter of the cost of aiohttp's own tracing."""
    if way := _way.get(None):
        way.reused = False
    return socket.socket(*address[:3])


def preconnect(address: str) -> None:
    """Open a connection in the background and leave it in the pool, unless there is an idle one.

    A later call then waits for neither name resolution nor the TLS handshake. Not through a proxy.
    """
    if not proxy_of(address).url:
        opening = asyncio.create_task(_connect(address))
        _opening.add(opening)
        opening.add_done_callback(_opening.discard)


_opening: set[asyncio.Task[None]] = set()
"""Held here, because the loop keeps no reference to its tasks."""


async def _connect(address: str) -> None:
    session = await connections()
    assert session.connector
    request = aiohttp.ClientRequest("POST", URL(address), session=session, loop=asyncio.get_running_loop())
    with suppress(aiohttp.ClientError, OSError, TimeoutError):  # the call itself will report it
        connection = await session.connector.connect(request, [], aiohttp.ClientTimeout(connect=10))
        connection.release()


class Proxy(NamedTuple):
    """The proxy of an address: `url`, or `None` for a direct connection.

    Headers for the proxy are part of the request (`request`), or precede it if the request is encrypted (`tunnel`).
    """

    url: str | None = None
    request: Mapping[str, str] = MappingProxyType({})
    tunnel: Mapping[str, str] | None = None


@cache
def proxy_of(address: str) -> Proxy:
    """Return the proxy of an address from the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), read once."""
    target = urlsplit(address)
    named = getproxies().get(target.scheme)
    if not named or proxy_bypass(target.hostname or ""):
        return Proxy()
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    user, at, host = proxy.netloc.rpartition("@")
    credentials = base64.b64encode(unquote(user).encode()).decode()
    headers = {"Proxy-Authorization": f"Basic {credentials}"} if at else {}
    url = f"{proxy.scheme}://{host}"
    return Proxy(url, tunnel=headers) if target.scheme == "https" else Proxy(url, headers)
