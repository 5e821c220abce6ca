"""Anthropic's turns of content blocks, converted to messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ....types import Message, Part
from ...http import InvalidParam
from ..common import tool_call

Block = Mapping[str, Any]

_REMINDER = "<system-reminder>"
"""How Claude Code begins what it adds to the results of tools. It is not a question of the user."""


def system(content: str | Sequence[Block]) -> Iterator[Message]:
    """Yield the system prompt as a message, if there is one."""
    text = content if isinstance(content, str) else "\n\n".join(str(block.get("text", "")) for block in content)
    if text:
        yield Message("system", text)


def user(content: str | Sequence[Block], path: str) -> Iterator[Message]:
    """Yield a user's turn: the results of tools, each a message, then the user's message. Raises `InvalidParam`."""
    if isinstance(content, str):
        yield Message("user", content)
        return
    results: list[tuple[str, str]] = []
    parts: list[Part] = []
    for number, block in enumerate(content):
        match block:
            case {"type": "tool_result", "tool_use_id": str(id)}:
                text, images = _result(block, f"{path}.{number}")
                results.append((id, text))
                parts += images
            case {"type": "text", "text": str(text)} if results and text.startswith(_REMINDER):
                id, result = results[-1]
                results[-1] = id, f"{result}\n\n{text}"
            case _:
                parts.append(_part(block, f"{path}.{number}"))
    for id, text in results:
        yield Message("tool", text, tool_call_id=id)
    if parts:
        yield Message("user", _content(parts))


def assistant(content: str | Sequence[Block], path: str) -> Iterator[Message]:
    """Yield an assistant's turn, without its thinking. Raises `InvalidParam`."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = ""
    calls = []
    for number, block in enumerate(blocks):
        match block:
            case {"type": "text", "text": str(words)}:
                text += words
            case {"type": "tool_use", "id": str(id), "name": str(name)}:
                calls.append(tool_call(id, name, block.get("input") or {}))
            case {"type": "thinking" | "redacted_thinking"}:
                pass
            case _:
                raise _unknown(block, f"{path}.{number}")
    if text or calls:
        yield Message("assistant", text, tool_calls=tuple(calls))


def _result(block: Block, path: str) -> tuple[str, list[Part]]:
    """Return the text and the images of a tool's result. Images are sent to the model as the user's."""
    content = block.get("content") or ""
    if isinstance(content, str):
        return _with_error(block, content), []
    if not isinstance(content, list):
        raise InvalidParam(f"{path}.content", "must be text or a list of content blocks")
    parts = [_part(inner, f"{path}.content.{number}") for number, inner in enumerate(content)]
    images = [part for part in parts if part["type"] != "text"]
    text = "\n\n".join(part["text"] for part in parts if part["type"] == "text")
    return _with_error(block, text or ("(see the image)" if images else "")), images


def _with_error(block: Block, text: str) -> str:
    return f"Error: {text}" if block.get("is_error") else text


def _part(block: Any, path: str) -> Part:
    match block:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "image", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "document", "source": {"type": "text", "data": str(text)}}:
            title = block.get("title")
            return {"type": "text", "text": f"{title}\n\n{text}" if title else text}
    raise _unknown(block, path)


def _content(parts: Sequence[Part]) -> str | tuple[Part, ...]:
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return tuple(parts)


def _unknown(block: Any, path: str) -> InvalidParam:
    kind = block.get("type") if isinstance(block, Mapping) else None
    return InvalidParam(path, f"content blocks of type {kind!r} and this form are not supported")
