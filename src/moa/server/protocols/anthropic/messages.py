"""Anthropic's messages, and its count of their tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ....trace.narration import Piece
from ....types import Response, Usage
from ...errors import problem, route
from ...http import json, parse
from ...schemas import Operation
from ...service import ActiveRun, RunRequest, Service
from ..common import extension, new_id, tool_arguments, tool_calls
from ..endpoint import Reply, answer
from ..resolve import resolve, shown
from .content_blocks import PING, ContentBlockStream, event, thinking, thinking_blocks
from .messages_body import CountBody, MessagesBody


class MessageErrorDetailJSON(TypedDict):
    type: str
    message: str


class MessageErrorJSON(TypedDict):
    """An error in Anthropic's shape."""

    type: Literal["error"]
    error: MessageErrorDetailJSON


class BlockJSON(TypedDict):
    type: str


class MessageUsageJSON(TypedDict):
    input_tokens: int
    output_tokens: int


class AssistantMessageJSON(TypedDict):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[BlockJSON]
    stop_reason: str
    usage: MessageUsageJSON


class TokenCountJSON(TypedDict):
    input_tokens: int


OPERATIONS = (
    Operation(
        "post",
        "/v1/messages",
        "Answer a conversation (Anthropic)",
        AssistantMessageJSON,
        MessagesBody,
        "text/event-stream",
        error=MessageErrorJSON,
    ),
    Operation(
        "post",
        "/v1/messages/count_tokens",
        "Estimate the tokens of a conversation (Anthropic)",
        TokenCountJSON,
        CountBody,
        error=MessageErrorJSON,
    ),
)


def error_response(error: Exception) -> HTTPResponse:
    """Return an error in Anthropic's shape."""
    found = problem(error)
    body = error_object(error)
    return json(body, found.status, {**found.headers, "request-id": body["request_id"]})


def error_object(error: Exception) -> dict[str, Any]:
    found = problem(error)
    return {
        "type": "error",
        "error": {"type": error_type(found.status), "message": found.message},
        "request_id": _id("req"),
    }


def error_type(status: int) -> str:
    """Return Anthropic's name for an error of this status."""
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
    """Return the tokens over all calls as Anthropic counts them."""
    return {
        "input_tokens": used.input_tokens - used.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
    }


def stop_reason(response: Response) -> str:
    """Return one of the stop reasons that Anthropic's clients know."""
    if response.tool_calls:
        return "tool_use"
    return {"length": "max_tokens", "content_filter": "refusal"}.get(response.finish_reason, "end_turn")


def routes(service: Service) -> list[Route]:
    """POST /v1/messages, POST /v1/messages/count_tokens."""

    async def count(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, CountBody)
        service.model(body.model)
        return json({"input_tokens": body.tokens()}, headers={"request-id": _id("req")})

    return [
        answer("/v1/messages", service, MessagesBody, MessageReply.of, error_response),
        route("/v1/messages/count_tokens", count, "POST", error_response),
    ]


@dataclass(frozen=True)
class MessageReply(Reply):
    """A message, whole or in events."""

    body: MessagesBody
    run: RunRequest

    @staticmethod
    def of(service: Service, body: MessagesBody) -> MessageReply:
        """Return the reply to a body. Raises `RequestError` or `ModelNotFound`.

        A stream shows proposals unless thinking is declined, so that the first words come early; a whole message only
        if thinking is enabled, since many programs read only its first block.
        """
        hidden = body.hides if body.stream else not body.thinks
        run = resolve(
            service,
            body.model,
            body.request(),
            effort=body.effort,
            effort_of_models=False,  # clients send an effort by default, which not every single model accepts
            overrides=body.moa,
            show="off" if hidden else shown(body.moa),
            stream=body.stream,
        )
        return MessageReply(body, run)

    @property
    def streams(self) -> bool:
        return self.run.stream

    @property
    def ping(self) -> bytes:
        return PING

    @property
    def headers(self) -> dict[str, str]:
        return {"request-id": _id("req")}

    def error_event(self, error: Exception) -> bytes:
        return event(error_object(error))

    async def whole(self, service: Service) -> HTTPResponse:
        async with service.run(self.run) as active:
            pieces = await active.proposals()
            response = active.response
            content = thinking_blocks(pieces)
            if response.reasoning and self.run.show != "off":
                content.append(thinking(response.reasoning))
            if response.text:
                content.append({"type": "text", "text": response.text})
            content += [
                {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": tool_arguments(call)}
                for call in tool_calls(response)
            ]
            message = {
                **_message(self.body.model, content, usage(response.usage)),
                "stop_reason": stop_reason(response),
                "moa": extension(active),
            }
            return json(message, headers={"request-id": _id("req")})

    async def chunks(self, service: Service) -> AsyncIterator[bytes]:
        message = _message(self.body.model, [], usage(Usage(self.body.tokens())))
        start = event({"type": "message_start", "message": message})
        blocks = ContentBlockStream()
        async with service.run(self.run) as active:
            async for pieces in active.batches():
                visible = [piece for piece in pieces if piece.kind == "text" or self.run.show != "off"]
                if visible:
                    yield start + blocks.add(visible)
                    start = b""
            yield start + _end(blocks, active)


def _end(blocks: ContentBlockStream, active: ActiveRun) -> bytes:
    response = active.response
    rest = blocks.add([] if blocks.has_text or not response.text else [Piece("text", response.text)])
    rest += b"".join(blocks.tool_use(call) for call in tool_calls(response)) + blocks.close()
    delta = {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(response), "stop_sequence": None},
        "usage": usage(response.usage),
        "moa": extension(active),
    }
    return rest + event(delta) + event({"type": "message_stop"})


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


def _id(kind: str) -> str:
    return new_id(f"{kind}_")
