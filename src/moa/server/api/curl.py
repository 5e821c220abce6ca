"""A call as a curl command, to repeat it by hand. A key appears only as an environment variable."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import orjson

from ...config.load import Config
from ...trace.tree import Node
from ...trace.views import messages_sent
from ...wire.chat_completions import request_to_json, without
from ..http import InvalidParam

KEY = "MOA_KEY"
"""The environment variable for a key of this server."""


def _curl(url: str, body: Mapping[str, Any], key: str | None, headers: Mapping[str, str] | None = None) -> str:
    """Return the command that posts a body as JSON. `key` is the environment variable of the key, if any."""
    parts = [f"curl {shlex.quote(url)}", "-H 'Content-Type: application/json'"]
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in (headers or {}).items()]
    if key:
        parts.append(f'-H "Authorization: Bearer ${key}"')
    parts.append(f"--data-raw {shlex.quote(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode())}")
    return " \\\n  ".join(parts) + "\n"


def to_server(call: Node, base: str, with_key: bool) -> str:
    """Return the call as a request to this server. Raises `RequestError` if its texts were not stored."""
    return _curl(f"{base.rstrip('/')}/v1/chat/completions", _body(call, call.start.model), KEY if with_key else None)


def to_provider(call: Node, config: Config) -> str | None:
    """Return the call as it was sent to its provider, `None` if no provider of its name is configured.

    Raises `RequestError` if its texts were not stored.
    """
    provider, _, model = call.start.model.partition(":")
    if (table := config.providers.get(provider)) is None:
        return None
    body, _unsent = without(_body(call, model), table.unsupported)
    renamed = {table.renamed.get(key, key): value for key, value in body.items()}
    return _curl(f"{table.base_url.rstrip('/')}/chat/completions", renamed, table.api_key_env, table.headers)


def _body(call: Node, model: str) -> dict[str, Any]:
    if call.start.request is None:
        raise InvalidParam("span", "names a layer, not a call; give the span of a call")
    return {**request_to_json(call.start.request, model), "messages": messages_sent(call)}
