"""A call as a line for the shell, to be made again by hand. No key is in it: where one is needed, it is a variable."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import orjson

from ...config.load import Config
from ...errors import RequestError
from ...trace.tree import Node
from ...trace.views import messages_sent
from ...wire.chat_completions import request_to_json, without

KEY = "MOA_KEY"
"""The environment variable that is to hold a key of this server."""


def posted(url: str, body: Mapping[str, Any], key: str | None, headers: Mapping[str, str] | None = None) -> str:
    """A body sent as JSON; `key` is the environment variable that holds the key, if one is needed."""
    told = [f"curl {shlex.quote(url)}", "-H 'Content-Type: application/json'"]
    told += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in (headers or {}).items()]
    if key:
        told.append(f'-H "Authorization: Bearer ${key}"')
    told.append(f"--data-raw {shlex.quote(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode())}")
    return " \\\n  ".join(told) + "\n"


def to_server(call: Node, base: str, locked: bool) -> str:
    """The call, asked of the server at this address. Raises `RequestError` where its words were not kept."""
    return posted(f"{base.rstrip('/')}/v1/chat/completions", _body(call, call.start.model), KEY if locked else None)


def to_provider(call: Node, config: Config) -> str | None:
    """The call as it was sent to its provider; `None` where it has none, or none that is configured.

    Raises `RequestError` where its words were not kept.
    """
    provider, _, model = call.start.model.partition(":")
    if (table := config.providers.get(provider)) is None:
        return None
    body, _unsent = without(_body(call, model), table.unsupported)
    renamed = {table.renamed.get(key, key): value for key, value in body.items()}
    return posted(f"{table.base_url.rstrip('/')}/chat/completions", renamed, table.api_key_env, table.headers)


def _body(call: Node, model: str) -> dict[str, Any]:
    if call.start.request is None:
        raise RequestError("a layer is no call; name the span of one")
    return {**request_to_json(call.start.request, model), "messages": messages_sent(call)}
