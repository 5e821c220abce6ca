"""The models a provider offers: `GET {base_url}/models`, as OpenAI-compatible endpoints answer it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import aiohttp
import orjson

from ..errors import BadReply, MissingKey, ModelError
from .connections import connections


async def offered(provider: str, base_url: str, api_key_env: str | None, headers: Mapping[str, str]) -> list[str]:
    """Their names, sorted. Raises `ModelError` when the provider does not say."""
    key = os.environ.get(api_key_env or "", "").strip()
    if api_key_env and not key:
        raise MissingKey(f"{provider}: set its API key: export {api_key_env}=...", model=provider)
    sent = {**headers, **({"Authorization": f"Bearer {key}"} if key else {})}
    url = f"{base_url.rstrip('/')}/models"
    try:
        session = await connections()
        timeout = aiohttp.ClientTimeout(total=30, sock_connect=10)
        async with session.get(url, headers=sent, timeout=timeout, allow_redirects=False) as reply:
            data = await reply.read()
    except aiohttp.ClientConnectorError as error:
        reason = os.strerror(error.os_error.errno) if error.os_error.errno else error.os_error
        raise ModelError(
            f"{provider}: cannot reach {base_url} ({reason}); is the server running?", model=provider
        ) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        reason = (str(error) or "no word for 30 s").replace(key or "\0", "[key]")
        raise ModelError(f"{provider}: cannot list {url} ({reason})", model=provider) from error
    if reply.status != 200:
        raise ModelError(f"{provider}: {url} replied with HTTP {reply.status}", model=provider, status=reply.status)
    try:
        told = orjson.loads(data)
        return sorted(str(one["id"]) for one in (told["data"] if isinstance(told, dict) else told))
    except (ValueError, KeyError, TypeError) as error:
        raise BadReply(f"{provider}: {url} did not reply with a list of models", model=provider) from error
