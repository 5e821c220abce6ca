"""The bodies of Ollama's calls, and the requests to the model that they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ....types import Message, Part, Request
from ....wire import response_format
from ...http import InvalidParam
from ..common import tool_call
from ..resolve import Overrides

PASSED_ON = ("frequency_penalty", "min_p", "presence_penalty", "repeat_penalty", "top_k")
"""Options that are passed on unchanged. Those about loading a model, such as num_ctx, are ignored."""

_MEDIA_TYPES = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}


class Lenient(BaseModel):
    """An object that accepts and ignores unknown fields."""

    model_config = ConfigDict(extra="allow")


class OllamaFunction(Lenient):
    name: str
    arguments: dict[str, Any] | str = {}


class OllamaToolCall(Lenient):
    """A tool call of the assistant. Few clients send its id."""

    id: str | None = None
    function: OllamaFunction


class OllamaTurn(Lenient):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[OllamaToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Options(Lenient):
    """Sampling options. Unknown ones are accepted and ignored."""

    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    num_predict: int | None = Field(None, description="the most tokens of the answer; less than 1 for no limit")

    def request(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]] = (),
        response_format: dict[str, Any] | None = None,
    ) -> Request:
        """Return the request to the model. Raises `RequestError`."""
        extra = self.model_extra or {}
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or ()
        return Request(
            messages,
            None if self.temperature is None else min(self.temperature, 2.0),
            self.top_p,
            self.num_predict if self.num_predict and self.num_predict > 0 else None,
            self.seed,
            tuple(one for one in stop if one),
            tuple(tools),
            None,
            response_format,
            {key: extra[key] for key in PASSED_ON if extra.get(key) is not None},
        )


class Body(Lenient):
    """The fields that /api/chat and /api/generate share."""

    model: str
    stream: bool | None = True
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    think: bool | Literal["low", "medium", "high"] | None = None
    keep_alive: float | str | None = None
    moa: Overrides | None = None

    @property
    def streams(self) -> bool:
        return self.stream is not False

    @property
    def unloads(self) -> bool:
        """Whether the call asks to unload the model."""
        return str(self.keep_alive).rstrip("smh") in ("0", "0.0")

    def response_format(self) -> dict[str, Any] | None:
        """Return the response format in OpenAI's form. Raises `RequestError`."""
        match self.format:
            case None | "":
                return None
            case "json":
                return {"type": "json_object"}
            case dict(wanted):
                form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
                response_format.check(form)
                return form
        raise InvalidParam("format", f"must be 'json' or a JSON schema, got {self.format!r}")


class OllamaChatBody(Body):
    """A call of /api/chat."""

    messages: list[OllamaTurn] = []
    tools: list[dict[str, Any]] | None = None

    def request(self) -> Request | None:
        """Return the request to the model, `None` if the call only loads it. Raises `RequestError`."""
        if not self.messages:
            return None
        options = self.options or Options()
        return options.request(list(conversation(self.messages)), self.tools or (), self.response_format())


class GenerateBody(Body):
    """A call of /api/generate."""

    prompt: str = ""
    suffix: str | None = None
    images: list[str] | None = None
    system: str | None = None

    def request(self) -> Request | None:
        """Return the request to the model, `None` if the call only loads it. Raises `RequestError`."""
        if self.suffix:
            raise InvalidParam("suffix", "not supported; a mixture cannot fill in the middle")
        if not self.prompt and not self.images:
            return None
        head = [Message("system", self.system)] if self.system else []
        options = self.options or Options()
        question = Message("user", _content(self.prompt, self.images))
        return options.request([*head, question], response_format=self.response_format())


def conversation(turns: Sequence[OllamaTurn]) -> Iterator[Message]:
    """Return the turns as messages. A tool result without an id belongs to the first call that has none yet."""
    waiting: list[tuple[str, str]] = []  # the id and the tool of each call without a result
    count = 0
    for turn in turns:
        calls = []
        for call in turn.tool_calls or ():
            id = call.id or f"call_{count}"
            count += 1
            calls.append(tool_call(id, call.function.name, call.function.arguments))
            waiting.append((id, call.function.name))
        answered = None
        if turn.role == "tool":
            answered = turn.tool_call_id or _answered(waiting, turn.tool_name)
            waiting = [(id, name) for id, name in waiting if id != answered]
        yield Message(turn.role, _content(turn.content or "", turn.images), None, tuple(calls), answered)


def _answered(waiting: Sequence[tuple[str, str]], tool: str | None) -> str:
    """Return the id of the call that a result belongs to."""
    named = (id for id, name in waiting if tool in (None, name))
    return next(named, waiting[0][0] if waiting else "call_0")


def _content(text: str, images: Sequence[str] | None) -> str | tuple[Part, ...]:
    if not images:
        return text
    parts: list[Part] = [{"type": "text", "text": text}] if text else []
    return (*parts, *({"type": "image_url", "image_url": {"url": _url(image)}} for image in images))


def _url(image: str) -> str:
    """Return a base64 image as a data URL. Its first characters reveal its type."""
    if image.startswith("data:"):
        return image
    kind = next((kind for start, kind in _MEDIA_TYPES.items() if image.startswith(start)), "image/jpeg")
    return f"data:{kind};base64,{image}"
