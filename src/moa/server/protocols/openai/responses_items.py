"""The items of the input of a response, and the messages that they become."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from ....types import Message, Part
from ...http import InvalidParam
from .chat_body import Open


class InputText(Open):
    type: Literal["input_text", "output_text", "text", "summary_text"]
    text: str


class InputRefusal(Open):
    type: Literal["refusal"]
    refusal: str


class InputImage(Open):
    type: Literal["input_image"]
    image_url: str | None = None
    detail: str | None = None


class InputFile(Open):
    type: Literal["input_file", "input_audio"]


Content = Annotated[InputText | InputRefusal | InputImage | InputFile, Field(discriminator="type")]


class MessageItem(Open):
    """A message."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Content]


class CallItem(Open):
    """A tool call of the model."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class CustomCallItem(Open):
    """A call of a custom tool, which takes plain text."""

    type: Literal["custom_tool_call"]
    call_id: str
    name: str
    input: str


class OutputItem(Open):
    """The output of a tool."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: str | list[Content]


class ReasoningItem(Open):
    """Earlier reasoning, which is not sent to models again."""

    type: Literal["reasoning"]


class IgnoredItem(Open):
    """A call of one of OpenAI's own tools, which is not sent to models."""

    type: Literal["web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"]


def _kind(item: Any) -> str | None:
    kind = item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", None)
    return _KINDS.get(kind) if isinstance(kind, str) else None


_KINDS = {
    "message": "message",
    "function_call": "call",
    "custom_tool_call": "custom",
    "function_call_output": "output",
    "custom_tool_call_output": "output",
    "reasoning": "reasoning",
    **dict.fromkeys(
        ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"), "ignored"
    ),
}

Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("call")]
    | Annotated[CustomCallItem, Tag("custom")]
    | Annotated[OutputItem, Tag("output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[IgnoredItem, Tag("ignored")],
    Discriminator(
        _kind,
        custom_error_type="unknown_item",
        custom_error_message=f"type must be one of {', '.join(_KINDS)}; items are not stored, so send them whole",
    ),
]


def conversation(items: Iterable[Item]) -> list[Message]:
    """Return the items as messages. Consecutive tool calls become one message, as chat models expect."""
    messages: list[Message] = []
    for item in items:
        match item:
            case MessageItem():
                messages.append(Message(item.role, content(item.content)))
            case CallItem():
                _append_call(messages, item.call_id, item.name, item.arguments)
            case CustomCallItem():
                _append_call(messages, item.call_id, item.name, _as_arguments(item.input))
            case OutputItem():
                messages.append(Message("tool", content(item.output), tool_call_id=item.call_id))
    return messages


def content(parts: str | list[Content]) -> str | tuple[Part, ...]:
    """Return a content in the form of chat completions."""
    if isinstance(parts, str):
        return parts
    converted = [_part(part) for part in parts]
    if all(part["type"] == "text" for part in converted):
        return "".join(part["text"] for part in converted)
    return tuple(converted)


def _part(part: Content) -> dict[str, Any]:
    match part:
        case InputText():
            return {"type": "text", "text": part.text}
        case InputRefusal():
            return {"type": "text", "text": part.refusal}
        case InputImage():
            if part.image_url is None:
                raise InvalidParam("input", "input_image needs image_url; files are not stored")
            detail = {} if part.detail is None else {"detail": part.detail}
            return {"type": "image_url", "image_url": {"url": part.image_url, **detail}}
    kind = part.type.removeprefix("input_").replace("audio", "input_audio")
    return {**part.sent, "type": kind}


def _append_call(messages: list[Message], id: str, name: str, arguments: str) -> None:
    call = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    if messages and messages[-1].role == "assistant":
        messages[-1] = replace(messages[-1], tool_calls=(*messages[-1].tool_calls, call))
    else:
        messages.append(Message("assistant", "", tool_calls=(call,)))


def _as_arguments(text: str) -> str:
    return json.dumps({"input": text}, ensure_ascii=False)
