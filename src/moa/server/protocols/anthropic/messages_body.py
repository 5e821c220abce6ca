"""The body of a call for a message, and the request to the model that it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from ....config.schema import Effort
from ....types import Message, Request, estimate_tokens
from ....wire import response_format
from ...http import InvalidParam
from ..resolve import Overrides
from . import turns

IMAGE = 1600
"""Tokens of an image, about what Anthropic counts for a megapixel."""

EFFORTS: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}


class AnthropicTurn(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="allow")

    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]

    def messages(self, path: str) -> Iterator[Message]:
        match self.role:
            case "user":
                return turns.user(self.content, path)
            case "assistant":
                return turns.assistant(self.content, path)
            case _:
                return turns.system(self.content)


class AnthropicTool(BaseModel):
    """A tool of the client."""

    model_config = ConfigDict(extra="allow")

    type: str | None = None
    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None

    def openai(self) -> dict[str, Any]:
        """Return the tool in OpenAI's form. Raises `InvalidParam` for one that only Anthropic can run."""
        if self.input_schema is None:
            raise InvalidParam(
                "tools", f"{self.name} has no input_schema; tools of type {self.type} run only at Anthropic"
            )
        about = {} if self.description is None else {"description": self.description}
        return {"type": "function", "function": {"name": self.name, **about, "parameters": self.input_schema}}


class CountBody(BaseModel):
    """The conversation of a call. Unknown fields are accepted and ignored."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: Annotated[list[AnthropicTurn], Field(min_length=1)]
    system: str | list[dict[str, Any]] | None = None
    tools: list[AnthropicTool] | None = None

    def conversation(self) -> list[Message]:
        """Return the messages. Raises `RequestError`."""
        messages = list(turns.system(self.system or ""))
        for number, turn in enumerate(self.messages):
            messages += turn.messages(f"messages.{number}.content")
        return messages

    def tokens(self) -> int:
        """Return an estimate of the tokens of the conversation."""
        tools = orjson.dumps([tool.openai() for tool in self.tools]).decode() if self.tools else ""
        return estimate_tokens(tools) + sum(map(_size, self.conversation()))


class MessagesBody(CountBody):
    """A call for a message."""

    max_tokens: Annotated[int, Field(ge=1)]
    stream: bool = False
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    stop_sequences: list[str] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    moa: Overrides | None = None

    def request(self) -> Request:
        """Return the request to the model. Raises `RequestError`."""
        form = self._form()
        response_format.check(form)
        choice = self.tool_choice or {}
        extra: dict[str, Any] = {} if self.top_k is None else {"top_k": self.top_k}
        if choice.get("disable_parallel_tool_use") and self.tools:
            extra["parallel_tool_calls"] = False
        return Request(
            self.conversation(),
            self.temperature,
            self.top_p,
            self.max_tokens,
            None,
            tuple(stop for stop in self.stop_sequences or () if stop.strip()),
            tuple(tool.openai() for tool in self.tools or ()),
            self._choice(),
            form,
            extra,
        )

    @property
    def thinks(self) -> bool:
        """Whether the client wants to see thinking."""
        thinking = self.thinking or {}
        return thinking.get("type") in ("enabled", "adaptive") and thinking.get("display") != "omitted"

    @property
    def hides(self) -> bool:
        """Whether the client declines thinking."""
        thinking = self.thinking or {}
        return thinking.get("type") == "disabled" or thinking.get("display") == "omitted"

    @property
    def effort(self) -> Effort | None:
        """The reasoning effort. Raises `InvalidParam`."""
        effort = (self.output_config or {}).get("effort")
        if effort not in (None, *EFFORTS):
            raise InvalidParam("output_config.effort", f"must be one of {', '.join(EFFORTS)}, got {effort!r}")
        return None if effort is None else EFFORTS[effort]

    def _choice(self) -> str | dict[str, Any] | None:
        match self.tool_choice:
            case None:
                return None
            case {"type": "auto" | "none" as kind}:
                return str(kind)
            case {"type": "any"}:
                return "required"
            case {"type": "tool", "name": str(name)}:
                return {"type": "function", "function": {"name": name}}
        raise InvalidParam("tool_choice", f"must be auto, any, none, or a tool with a name, got {self.tool_choice}")

    def _form(self) -> dict[str, Any] | None:
        match (self.output_config or {}).get("format"):
            case None:
                return None
            case {"type": "json_schema", "schema": dict(wanted)}:
                return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
        raise InvalidParam("output_config.format", "must be {type: json_schema, schema: ...}")


def _size(message: Message) -> int:
    images = sum(part["type"] != "text" for part in message.content) if not isinstance(message.content, str) else 0
    calls = orjson.dumps(message.tool_calls).decode() if message.tool_calls else ""
    return estimate_tokens(message.text + calls) + IMAGE * images + 4
