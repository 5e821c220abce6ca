"""Anthropic's turns of content blocks as our messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ....errors import RequestError
from ....types import Message, Part
from ..common import tool_call

Block = Mapping[str, Any]

_REMINDER = "<system-reminder>"
"""How Claude Code begins what it tells the model beside the results of tools; it is no question of the user's."""


def system(content: str | Sequence[Block]) -> Iterator[Message]:
    """The system prompt as a message, if there is any."""
    text = content if isinstance(content, str) else "\n\n".join(str(block.get("text", "")) for block in content)
    if text:
        yield Message("system", text)


def user(content: str | Sequence[Block], place: str) -> Iterator[Message]:
    """A user's turn: the results of tools, each a message, then what the user says. Raises `RequestError`."""
    if isinstance(content, str):
        yield Message("user", content)
        return
    results: list[tuple[str, str]] = []
    parts: list[Part] = []
    for number, block in enumerate(content):
        match block:
            case {"type": "tool_result", "tool_use_id": str(id)}:
                text, images = _result(block, f"{place}.{number}")
                results.append((id, text))
                parts += images
            case {"type": "text", "text": str(text)} if results and text.startswith(_REMINDER):
                id, told = results[-1]
                results[-1] = id, f"{told}\n\n{text}"
            case _:
                parts.append(_part(block, f"{place}.{number}"))
    for id, text in results:
        yield Message("tool", text, tool_call_id=id)
    if parts:
        yield Message("user", _content(parts))


def assistant(content: str | Sequence[Block], place: str) -> Iterator[Message]:
    """An assistant's turn, without what it thought. Raises `RequestError`."""
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
                raise _unknown(block, f"{place}.{number}")
    if text or calls:
        yield Message("assistant", text, tool_calls=tuple(calls))


def _result(block: Block, place: str) -> tuple[str, list[Part]]:
    """What a tool gave back: the words, and the images, which go to the model as from the user."""
    content = block.get("content") or ""
    if isinstance(content, str):
        return _judged(block, content), []
    if not isinstance(content, list):
        raise RequestError(f"{place}.content must be text or a list of content blocks")
    parts = [_part(inner, f"{place}.content.{number}") for number, inner in enumerate(content)]
    images = [part for part in parts if part["type"] != "text"]
    text = "\n\n".join(part["text"] for part in parts if part["type"] == "text")
    return _judged(block, text or ("(see the image)" if images else "")), images


def _judged(block: Block, text: str) -> str:
    return f"Error: {text}" if block.get("is_error") else text


def _part(block: Any, place: str) -> Part:
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
    raise _unknown(block, place)


def _content(parts: Sequence[Part]) -> str | tuple[Part, ...]:
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return tuple(parts)


def _unknown(block: Any, place: str) -> RequestError:
    kind = block.get("type") if isinstance(block, Mapping) else None
    return RequestError(f"{place}: a content block of type {kind!r} like this one cannot be read here")
