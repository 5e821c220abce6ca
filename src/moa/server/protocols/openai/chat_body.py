"""The body of a chat completion, and the request to the model that it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ....config.schema import Effort, Seed
from ....types import Message, Request
from ....wire import response_format
from ...http import InvalidParam
from ..resolve import Overrides

PASSED_ON = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "min_p",
        "parallel_tool_calls",
        "presence_penalty",
        "repeat_penalty",
        "repetition_penalty",
        "top_k",
        "verbosity",
    }
)
"""Sampling options that are passed to the aggregator's server unchanged, which may know them."""

Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(ge=0, le=1)]
MaxTokens = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Open(BaseModel):
    """An object that accepts and keeps unknown fields."""

    model_config = ConfigDict(extra="allow")

    @property
    def sent(self) -> dict[str, Any]:
        """The object as the client sent it."""
        return self.model_dump(exclude_unset=True)


class TextPart(Open):
    type: Literal["text"]
    text: str


class RefusalPart(Open):
    type: Literal["refusal"]
    refusal: str


class Image(Open):
    url: str


class ImagePart(Open):
    type: Literal["image_url"]
    image_url: Image


class OtherPart(Open):
    type: Literal["input_audio", "file"]


Part = Annotated[TextPart | RefusalPart | ImagePart | OtherPart, Field(discriminator="type")]


class CalledFunction(Open):
    name: str
    arguments: str


class ToolCall(Open):
    """A tool call of the assistant."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Function(Open):
    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Open):
    """A tool of the client."""

    type: Literal["function"]
    function: Function


class ChatMessage(Open):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    def message(self) -> Message:
        calls = tuple({"type": "function", **call.sent} for call in self.tool_calls or ())
        return Message(self.role, self._content(), self.name, calls, self.tool_call_id)

    def _content(self) -> str | tuple[Mapping[str, Any], ...]:
        if not isinstance(self.content, list):
            return self.content or ""
        if all(isinstance(part, (TextPart, RefusalPart)) for part in self.content):
            return "".join(getattr(part, part.type) for part in self.content)
        return tuple(part.sent for part in self.content)


class StreamOptions(Open):
    include_usage: bool | None = False


class ChatBody(Open):
    """A chat completion. Unknown fields are accepted, like OpenAI does; the reply lists them as unused."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    n: Annotated[int, Field(ge=1, le=128, description="1: a mixture gives one answer")] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Tool | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    reasoning_effort: Effort | None = None
    moa: Overrides | None = None

    def request(self) -> Request:
        """Return the request to the model. Raises `RequestError`."""
        if self.n is not None and self.n > 1:
            raise InvalidParam("n", f"must be 1, got {self.n}; a mixture gives one answer")
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidParam("top_logprobs", "needs logprobs = true")
        if deprecated := {"functions", "function_call"} & set(self.further):
            raise InvalidParam(min(deprecated), "deprecated; use tools and tool_choice")
        response_format.check(self.response_format)
        choice = self.tool_choice.sent if isinstance(self.tool_choice, Tool) else self.tool_choice
        extra = {key: value for key, value in self.further.items() if key in PASSED_ON}
        if self.logprobs:
            extra["logprobs"] = True
            if self.top_logprobs is not None:
                extra["top_logprobs"] = self.top_logprobs
        return Request(
            [message.message() for message in self.messages],
            self.temperature,
            self.top_p,
            self.max_completion_tokens or self.max_tokens,
            self.seed,
            stops(self.stop),
            tuple(tool.sent for tool in self.tools or ()),
            choice if self.tools else None,
            self.response_format,
            extra,
        )

    @property
    def further(self) -> dict[str, Any]:
        """The unknown fields that are set."""
        return {key: value for key, value in (self.model_extra or {}).items() if value is not None}

    @property
    def unused(self) -> Iterator[str]:
        """The fields that are accepted and have no effect."""
        return (key for key in sorted(self.further) if key not in PASSED_ON)

    @property
    def with_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


def stops(stop: str | list[str] | None) -> tuple[str, ...]:
    """Return the stop sequences without empty ones, which would end every answer at once."""
    return tuple(one for one in ([stop] if isinstance(stop, str) else stop or ()) if one)
