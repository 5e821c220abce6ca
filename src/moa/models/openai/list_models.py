"""Lists the models of a provider: `GET {base_url}/models` of an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping

import aiohttp
import orjson

from ...errors import BadReply, MissingKey, ModelError
from .errors import failure
from .pool import connections, proxy_of

TIMEOUT = 30
"""Seconds until the list must have arrived."""


async def list_models(provider: str, base_url: str, api_key_env: str | None, headers: Mapping[str, str]) -> list[str]:
    """Return the names of the models, sorted. Raises `ModelError`."""
    key = os.environ.get(api_key_env or "", "").strip()
    if api_key_env and not key:
        raise MissingKey(f"{provider}: set its API key: export {api_key_env}=...", model=provider)
    proxy = proxy_of(base_url)
    sent = {**headers, **proxy.request, **({"Authorization": f"Bearer {key}"} if key else {})}
    url = f"{base_url.rstrip('/')}/models"
    try:
        session = await connections()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=10)
        async with session.get(
            url, headers=sent, timeout=timeout, allow_redirects=False, proxy=proxy.url, proxy_headers=proxy.tunnel
        ) as reply:
            data = await reply.read()
    except (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError) as error:
        words, kind, _ = failure(error, base_url, TIMEOUT)
        if type(error) is TimeoutError:
            words = f"no list within {TIMEOUT} s; retry"
        raise kind(f"{provider}: {words.replace(key or chr(0), '[key]')}", model=provider) from error
    if reply.status != 200:
        advice = f"; check the key in {api_key_env}" if key and reply.status in (401, 403) else ""
        words = f"{provider}: {url} replied with HTTP {reply.status}{advice}"
        raise ModelError(words, model=provider, status=reply.status)
    try:
        body = orjson.loads(data)
        return sorted(str(model["id"]) for model in (body["data"] if isinstance(body, dict) else body))
    except (ValueError, KeyError, TypeError) as error:
        raise BadReply(f"{provider}: {url} did not reply with a list of models", model=provider) from error
