"""Tool calls whose arguments are objects (Anthropic's, Ollama's), to and from OpenAI's, where they are text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ...errors import BadReply


def tool_call(id: str, name: str, arguments: Any) -> dict[str, Any]:
    """A tool call in OpenAI's form. Arguments that are text already stay as they are."""
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a model's tool call as an object. Raises `BadReply` where they are none."""
    function = call["function"]
    text = function["arguments"]
    if isinstance(text, dict):
        return text
    try:
        value = orjson.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadReply(f"the model calls the tool {function['name']!r} with what is no JSON object: {text[:200]!r}")
    return value
