"""The items of a response's input, and the conversation that they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from ....errors import RequestError
from ....types import Message, Part
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
    """What somebody said."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Content]


class CallItem(Open):
    """The model's call of a function."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class CustomCallItem(Open):
    """The model's call of a tool that takes plain text."""

    type: Literal["custom_tool_call"]
    call_id: str
    name: str
    input: str


class OutputItem(Open):
    """What a tool gave back."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: str | list[Content]


class ReasoningItem(Open):
    """What was thought before: it was for the reader, and models are not told it again."""

    type: Literal["reasoning"]


class PassedItem(Open):
    """What a tool of OpenAI's own did, which no model here can read."""

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
        ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"), "passed"
    ),
}

Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("call")]
    | Annotated[CustomCallItem, Tag("custom")]
    | Annotated[OutputItem, Tag("output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[PassedItem, Tag("passed")],
    Discriminator(
        _kind,
        custom_error_type="unknown_item",
        custom_error_message=f"items are of type {', '.join(_KINDS)}; there is nothing stored to refer to",
    ),
]


def conversation(items: Iterable[Item]) -> list[Message]:
    """The items as messages. Calls made at once stand in one message, as chat models want them."""
    told: list[Message] = []
    for item in items:
        match item:
            case MessageItem():
                told.append(Message(item.role, content(item.content)))
            case CallItem():
                _called(told, item.call_id, item.name, item.arguments)
            case CustomCallItem():
                _called(told, item.call_id, item.name, _as_arguments(item.input))
            case OutputItem():
                told.append(Message("tool", content(item.output), tool_call_id=item.call_id))
    return told


def content(parts: str | list[Content]) -> str | tuple[Part, ...]:
    """A content in the form of chat completions."""
    if isinstance(parts, str):
        return parts
    told = [_part(part) for part in parts]
    if all(part["type"] == "text" for part in told):
        return "".join(part["text"] for part in told)
    return tuple(told)


def _part(part: Content) -> dict[str, Any]:
    match part:
        case InputText():
            return {"type": "text", "text": part.text}
        case InputRefusal():
            return {"type": "text", "text": part.refusal}
        case InputImage():
            if part.image_url is None:
                raise RequestError("input_image needs image_url: no files are kept here")
            detail = {} if part.detail is None else {"detail": part.detail}
            return {"type": "image_url", "image_url": {"url": part.image_url, **detail}}
    kind = part.type.removeprefix("input_").replace("audio", "input_audio")
    return {**part.sent, "type": kind}


def _called(told: list[Message], id: str, name: str, arguments: str) -> None:
    call = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    if told and told[-1].role == "assistant":
        told[-1] = replace(told[-1], tool_calls=(*told[-1].tool_calls, call))
    else:
        told.append(Message("assistant", "", tool_calls=(call,)))


def _as_arguments(text: str) -> str:
    import json

    return json.dumps({"input": text}, ensure_ascii=False)
