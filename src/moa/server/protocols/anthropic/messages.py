"""Anthropic's messages, and its count of their tokens."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ....config.schema import Effort
from ....errors import RequestError
from ....mixture.mixture import Mixture
from ....trace.narration import Piece
from ....types import Message, Request, Response, Usage, estimate_tokens
from ....wire import response_format as schema
from ...responses import StreamingReply, json, parsed, problem, unless_gone
from ...schemas import TEXT, WHOLE, Operation, one_of, rows, table
from ...service import ActiveRun, RunRequest, Service
from ..account import extension, tool_calls
from ..effort import sized
from ..overrides import Overrides, overridden
from ..tool_calls import arguments
from . import content as turns
from .stream import PING, ContentBlockStream, sse, thinking, thoughts

IMAGE = 1600
"""Tokens that an image is counted as, about what one of a megapixel is to Anthropic."""

EFFORTS: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}


class Turn(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="allow")

    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]

    def messages(self, place: str) -> Iterator[Message]:
        match self.role:
            case "user":
                return turns.user(self.content, place)
            case "assistant":
                return turns.assistant(self.content, place)
            case _:
                return turns.system(self.content)


class Tool(BaseModel):
    """A tool of the client's."""

    model_config = ConfigDict(extra="allow")

    type: str | None = None
    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None

    def openai(self) -> dict[str, Any]:
        """The tool in OpenAI's form. Raises `RequestError` for one that only Anthropic can run."""
        if self.input_schema is None:
            raise RequestError(f"tools: {self.name} has no input_schema; tools of type {self.type} are Anthropic's own")
        about = {} if self.description is None else {"description": self.description}
        return {"type": "function", "function": {"name": self.name, **about, "parameters": self.input_schema}}


class CountBody(BaseModel):
    """What a question is made of. Fields that are not known are accepted and not used."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: Annotated[list[Turn], Field(min_length=1)]
    system: str | list[dict[str, Any]] | None = None
    tools: list[Tool] | None = None

    def conversation(self) -> list[Message]:
        """The messages. Raises `RequestError`."""
        told = list(turns.system(self.system or ""))
        for number, turn in enumerate(self.messages):
            told += turn.messages(f"messages.{number}.content")
        return told

    def tokens(self) -> int:
        """About how many tokens the question is."""
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
        """The request to the model. Raises `RequestError`."""
        form = self._form()
        schema.check(form)
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
        """Whether the client asks to see thinking."""
        told = self.thinking or {}
        return told.get("type") in ("enabled", "adaptive") and told.get("display") != "omitted"

    @property
    def hides(self) -> bool:
        """Whether the client asks not to see thinking."""
        told = self.thinking or {}
        return told.get("type") == "disabled" or told.get("display") == "omitted"

    @property
    def effort(self) -> Effort | None:
        """How hard the client wants a model to think. Raises `RequestError`."""
        told = (self.output_config or {}).get("effort")
        if told not in (None, *EFFORTS):
            raise RequestError(f"output_config.effort: {told!r} is not one of: {', '.join(EFFORTS)}")
        return None if told is None else EFFORTS[told]

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
        raise RequestError(f"tool_choice: {self.tool_choice} is not one of: auto, any, none, tool with a name")

    def _form(self) -> dict[str, Any] | None:
        match (self.output_config or {}).get("format"):
            case None:
                return None
            case {"type": "json_schema", "schema": dict(wanted)}:
                return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
        raise RequestError("output_config.format: give {type: json_schema, schema: ...}")


ERROR = table({"type": one_of("error"), "error": table({"type": TEXT, "message": TEXT})})
MESSAGE = table(
    {
        "id": TEXT,
        "type": one_of("message"),
        "role": one_of("assistant"),
        "model": TEXT,
        "content": rows(table({"type": TEXT})),
        "stop_reason": TEXT,
        "usage": table({"input_tokens": WHOLE, "output_tokens": WHOLE}),
    }
)

OPERATIONS = (
    Operation(
        "post",
        "/v1/messages",
        "Answer a conversation (Anthropic)",
        MESSAGE,
        MessagesBody,
        "text/event-stream",
        error=ERROR,
    ),
    Operation(
        "post",
        "/v1/messages/count_tokens",
        "Estimate the tokens of a conversation (Anthropic)",
        table({"input_tokens": WHOLE}),
        CountBody,
        error=ERROR,
    ),
)


def failed(error: Exception) -> HTTPResponse:
    """An error in Anthropic's shape."""
    told = problem(error)
    body = error_body(error)
    return json(body, told.status, {**told.headers, "request-id": body["request_id"]})


def error_body(error: Exception) -> dict[str, Any]:
    told = problem(error)
    return {
        "type": "error",
        "error": {"type": error_type(told.status), "message": told.message},
        "request_id": _id("req"),
    }


def error_type(status: int) -> str:
    """Anthropic's name for an error of this status."""
    known = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
        504: "timeout_error",
    }
    return known.get(status, "invalid_request_error" if status < 500 else "api_error")


def usage(used: Usage) -> dict[str, int]:
    """Tokens over all calls."""
    return {
        "input_tokens": used.input_tokens - used.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
    }


def stop_reason(response: Response) -> str:
    """One of the reasons Anthropic's clients know."""
    if response.tool_calls:
        return "tool_use"
    return {"length": "max_tokens", "content_filter": "refusal"}.get(response.finish_reason, "end_turn")


def routes(service: Service) -> list[Route]:
    """POST /v1/messages, POST /v1/messages/count_tokens."""

    async def messages(http: HTTPRequest) -> HTTPResponse:
        try:
            body = await parsed(http, MessagesBody)
            asked = _asked(service, body)
            if asked.stream:
                return StreamingReply(
                    _events(service, asked, body),
                    failed,
                    keep_alive=PING,
                    every=service.table.keep_alive,
                    headers={"request-id": _id("req")},
                    late=lambda error: sse(error_body(error)),
                )
            return await unless_gone(http.receive, _whole(service, asked, body.model))
        except Exception as error:
            return failed(error)

    async def count(http: HTTPRequest) -> HTTPResponse:
        try:
            body = await parsed(http, CountBody)
            service.model(body.model)
            return json({"input_tokens": body.tokens()}, headers={"request-id": _id("req")})
        except Exception as error:
            return failed(error)

    return [
        Route("/v1/messages", messages, methods=["POST"]),
        Route("/v1/messages/count_tokens", count, methods=["POST"]),
    ]


def _asked(service: Service, body: MessagesBody) -> RunRequest:
    """What is asked. A stream shows proposals unless thinking is declined, for the sake of an early first word; a whole
    message only where it is asked for, since many programs read no further than its first block."""
    hidden = body.hides if body.stream else not body.thinks
    show = "off" if hidden else body.moa.proposals if body.moa else None
    asked = service.asked(body.model, body.request(), stream=body.stream, show=show)
    if isinstance(asked.model, Mixture):  # clients say an effort unasked, which not every single model can take
        asked, _ = sized(service, body.model, asked, body.effort)
    return overridden(asked, body.moa)


async def _whole(service: Service, asked: RunRequest, name: str) -> HTTPResponse:
    async with service.answering(asked) as answering:
        pieces = await answering.proposals()
        response = answering.response
        content = thoughts(pieces)
        if response.reasoning and asked.show != "off":
            content.append(thinking(response.reasoning))
        if response.text:
            content.append({"type": "text", "text": response.text})
        content += [
            {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": arguments(call)}
            for call in tool_calls(response)
        ]
        message = {
            **_message(name, content, usage(response.usage)),
            "stop_reason": stop_reason(response),
            "moa": extension(answering),
        }
        return json(message, headers={"request-id": _id("req")})


async def _events(service: Service, asked: RunRequest, body: MessagesBody) -> AsyncIterator[bytes]:
    start = sse({"type": "message_start", "message": _message(body.model, [], usage(Usage(body.tokens())))})
    blocks = ContentBlockStream()
    async with service.answering(asked) as answering:
        async for pieces in answering.batches():
            shown = [piece for piece in pieces if piece.kind == "text" or asked.show != "off"]
            if shown:
                yield start + blocks.add(shown)
                start = b""
        yield start + _end(blocks, answering)


def _end(blocks: ContentBlockStream, answering: ActiveRun) -> bytes:
    response = answering.response
    rest = blocks.add([] if blocks.told or not response.text else [Piece("text", response.text)])
    rest += b"".join(blocks.tool_use(call) for call in tool_calls(response)) + blocks.close()
    delta = {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(response), "stop_sequence": None},
        "usage": usage(response.usage),
        "moa": extension(answering),
    }
    return rest + sse(delta) + sse({"type": "message_stop"})


def _message(name: str, content: list[dict[str, Any]], used: dict[str, int]) -> dict[str, Any]:
    return {
        "id": _id("msg"),
        "type": "message",
        "role": "assistant",
        "model": name,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": used,
    }


def _size(message: Message) -> int:
    images = sum(part["type"] != "text" for part in message.content) if not isinstance(message.content, str) else 0
    calls = orjson.dumps(message.tool_calls).decode() if message.tool_calls else ""
    return estimate_tokens(message.text + calls) + IMAGE * images + 4


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"
