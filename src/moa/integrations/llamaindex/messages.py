"""Conversion of messages from and to LlamaIndex."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from ...errors import RequestError
from ...types import Message, Part
from ...types import MessageRole as Role

_ROLES: Mapping[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "developer",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.FUNCTION: "tool",
    MessageRole.TOOL: "tool",
}


def from_llamaindex(message: ChatMessage) -> Message:
    """Convert a message from LlamaIndex, without reasoning. Raises `RequestError` for audio, video and files."""
    parts: list[Part] = []
    calls: list[Mapping[str, object]] = []
    for block in message.blocks:
        match block:
            case TextBlock():
                parts.append({"type": "text", "text": block.text})
            case ImageBlock():
                parts.append({"type": "image_url", "image_url": {"url": _url(block)}})
            case ToolCallBlock():
                calls.append(_call(block, len(calls)))
            case ThinkingBlock() | CachePoint():
                pass
            case _:
                raise RequestError(f"message: a block of type {block.block_type!r} cannot be read; use text or images")
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    only_text = all(part["type"] == "text" for part in parts)
    id = message.additional_kwargs.get("tool_call_id")
    return Message(_ROLES[message.role], text if only_text else tuple(parts), None, tuple(calls), id)


def to_llamaindex(message: Message) -> ChatMessage:
    """Convert a message to LlamaIndex. Raises `RequestError` for parts other than text and images."""
    known = {"tool_call_id": message.tool_call_id} if message.tool_call_id else {}
    blocks = [*_blocks(message), *map(tool_call, message.tool_calls)]
    return ChatMessage(role=MessageRole(message.role), blocks=blocks, additional_kwargs=known)


def tool_call(call: Mapping[str, object]) -> ToolCallBlock:
    """Convert a tool call to a block. Arguments that are not a JSON object stay text."""
    function = call["function"]
    assert isinstance(function, Mapping)
    text = function["arguments"]
    try:
        arguments = json.loads(text)
    except ValueError:
        arguments = text
    kwargs = arguments if isinstance(arguments, dict) else str(text)
    return ToolCallBlock(tool_call_id=str(call.get("id") or ""), tool_name=function["name"], tool_kwargs=kwargs)


def _blocks(message: Message) -> Iterator[ContentBlock]:
    if isinstance(message.content, str):
        yield TextBlock(text=message.content)
        return
    for part in message.content:
        match part:
            case {"type": "text", "text": str(text)}:
                yield TextBlock(text=text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield ImageBlock(url=url)
            case _:
                kind = part.get("type")
                raise RequestError(f"message: a part of type {kind!r} cannot be sent to LlamaIndex; use text or images")


def _url(block: ImageBlock) -> str:
    return str(block.url) if block.url else block.inline_url()


def _call(block: ToolCallBlock, index: int) -> Mapping[str, object]:
    kwargs = block.tool_kwargs
    arguments = kwargs if isinstance(kwargs, str) else json.dumps(kwargs)
    function = {"name": block.tool_name, "arguments": arguments}
    return {"id": block.tool_call_id or f"call_{index}", "type": "function", "function": function}
