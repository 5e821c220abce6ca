"""OpenAI's responses, which are not stored."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ....trace.narration import Piece, PieceKind
from ...errors import problem
from ...http import json
from ...schemas import Operation
from ...service import ActiveRun, RunRequest, Service
from ..common import ProposalRenderer, count_tokens, extension, new_id, tool_calls
from ..endpoint import Reply, answer
from ..resolve import resolve, shown
from .responses_body import ResponsesBody
from .responses_events import ResponseBuilder


class ResponseItemJSON(TypedDict):
    id: str
    type: str


class ResponseUsageJSON(TypedDict):
    input_tokens: int
    output_tokens: int
    total_tokens: int


class ResponseJSON(TypedDict):
    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete"]
    model: str
    output: list[ResponseItemJSON]
    usage: ResponseUsageJSON
    moa: dict[str, Any]


OPERATIONS = (
    Operation(
        "post",
        "/v1/responses",
        "Answer a conversation (OpenAI; responses are not stored)",
        ResponseJSON,
        ResponsesBody,
        "text/event-stream",
    ),
)


def routes(service: Service) -> list[Route]:
    """POST /v1/responses."""
    return [answer("/v1/responses", service, ResponsesBody, ResponsesReply.of)]


@dataclass(frozen=True)
class ResponsesReply(Reply):
    """A response, whole or in events."""

    body: ResponsesBody
    run: RunRequest
    builder: ResponseBuilder

    @staticmethod
    def of(service: Service, body: ResponsesBody) -> ResponsesReply:
        """Return the reply to a body. Raises `RequestError` or `ModelNotFound`."""
        summary = body.reasoning and body.reasoning.summary
        run = resolve(
            service,
            body.model,
            body.request(),
            effort=body.effort,
            overrides=body.moa,
            # A whole reply is the answer alone; proposals are for clients that wait for it.
            show=shown(body.moa, None if body.stream or summary else "off"),
            stream=bool(body.stream),
        )
        return ResponsesReply(body, run, ResponseBuilder(_head(body), ProposalRenderer(run.show), body.custom))

    @property
    def streams(self) -> bool:
        return self.run.stream

    async def whole(self, service: Service) -> HTTPResponse:
        async with service.run(self.run) as active:
            async for pieces in active.batches():
                self.builder.add(pieces)
            self._finish(active)
            return json(self.builder.whole(**self._end(active)))

    async def chunks(self, service: Service) -> AsyncIterator[bytes]:
        async with service.run(self.run) as active:
            async for pieces in active.batches():
                yield self.builder.begin() + self.builder.add(pieces)
            last = self.builder.begin() + self._finish(active)
            end = self._end(active)
            yield last + self.builder.state(f"response.{end['status']}", **end)

    def error_event(self, error: Exception) -> bytes:
        found = problem(error)
        return self.builder.fail({"code": found.code or found.kind, "message": found.message})

    def _finish(self, active: ActiveRun) -> bytes:
        """Add what comes after the last piece: the whole text if none was streamed, and the tool calls."""
        response = active.response
        out = b""
        if not self.builder.has_answer:
            texts: dict[PieceKind, str] = {"reasoning": response.reasoning, "text": response.text}
            out += self.builder.add(Piece(kind, text) for kind, text in texts.items() if text)
        out += self.builder.close(response.logprobs)
        for call in tool_calls(response):
            out += self.builder.call(call)
        return out

    def _end(self, active: ActiveRun) -> dict[str, Any]:
        response, trace = active.response, active.trace
        used = count_tokens(response, trace)
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(response.finish_reason)
        return {
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "completed_at": None if reason else int(time.time()),
            "usage": {
                "input_tokens": used.input,
                "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": 0},
                "output_tokens": used.output,
                "output_tokens_details": {"reasoning_tokens": used.reasoning},
                "total_tokens": used.input + used.output,
            },
            "moa": extension(active, [*self.body.unused, *self.run.unused]),
        }


def _head(body: ResponsesBody) -> dict[str, Any]:
    """Return the fields of a response that depend on the call alone."""
    form = body.text.format.model_dump(by_alias=True, exclude_unset=True) if body.text and body.text.format else None
    choice = body.tool_choice
    return {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": None,
        "model": body.model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": body.effort, "summary": body.reasoning.summary if body.reasoning else None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": {"format": form or {"type": "text"}},
        "tool_choice": choice if isinstance(choice, str) else choice.sent if choice else "auto",
        "tools": [tool.sent for tool in body.tools or ()],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": "disabled",
        "usage": None,
        "metadata": body.metadata or {},
    }
