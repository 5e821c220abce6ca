"""One pool of connections for each event loop, kept warm between calls and closed with the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary

import aiohttp

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[aiohttp.ClientSession, None]] = WeakKeyDictionary()
_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()


async def connections() -> aiohttp.ClientSession:
    """The pool of the running loop. Limits belong to the providers (`max_concurrency`), so it has none of its own."""
    loop = asyncio.get_running_loop()
    session = _sessions.get(loop)
    if session is None:
        pool = _pools[loop] = _opened()
        session = _sessions[loop] = await anext(pool)
    return session


async def _opened() -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A generator, because a loop that shuts down closes its asynchronous generators: nobody has to remember to."""
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=60)
    session = aiohttp.ClientSession(connector=connector, trust_env=True, auto_decompress=True)
    try:
        yield session
    finally:
        await session.close()
