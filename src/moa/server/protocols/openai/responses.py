"""OpenAI's responses, of which nothing is kept."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ....errors import RequestError
from ....mixture.mixture import Mixture
from ....trace.narration import Piece, PieceKind
from ...responses import json, problem
from ...schemas import TABLE, TEXT, WHOLE, Operation, one_of, rows, table
from ...service import ActiveRun, RunRequest, Service
from ..account import extension, new_id, tokens, tool_calls
from ..effort import sized
from ..endpoint import answer
from ..overrides import overridden
from ..proposals import ProposalRenderer
from .responses_body import ResponsesBody
from .responses_events import ResponseBuilder

OPERATIONS = (
    Operation(
        "post",
        "/v1/responses",
        "Answer a conversation (OpenAI, the newer form; nothing is kept)",
        table(
            {
                "id": TEXT,
                "object": one_of("response"),
                "created_at": WHOLE,
                "status": one_of("completed", "incomplete"),
                "model": TEXT,
                "output": rows(table({"id": TEXT, "type": TEXT})),
                "usage": table({"input_tokens": WHOLE, "output_tokens": WHOLE, "total_tokens": WHOLE}),
                "moa": TABLE,
            }
        ),
        ResponsesBody,
        "text/event-stream",
    ),
)


def routes(service: Service) -> list[Route]:
    """POST /v1/responses."""
    return [answer("/v1/responses", service, ResponsesBody, _Reply.of)]


@dataclass(frozen=True)
class _Reply:
    """One call being answered, whole or in events."""

    body: ResponsesBody
    asked: RunRequest
    unused: list[str]
    growing: ResponseBuilder

    @staticmethod
    def of(service: Service, body: ResponsesBody) -> _Reply:
        """Raises `RequestError` or `NotFound`."""
        show = body.moa.proposals if body.moa else None
        asked = service.asked(body.model, body.request(), stream=bool(body.stream), show=show)
        asked, unused = sized(service, body.model, asked, body.effort)
        asked = overridden(asked, body.moa)
        summary = body.reasoning and body.reasoning.summary
        if not asked.stream and show is None and not summary:
            asked = replace(asked, show="off")  # a whole reply is the answer; proposals are for those who wait
        if body.logprobs and isinstance(asked.model, Mixture) and not asked.model.aggregator.models:
            raise RequestError(f"logprobs: {asked.model.name} votes, so no model writes its answer")
        growing = ResponseBuilder(_head(body), ProposalRenderer(asked.show), body.custom)
        return _Reply(body, asked, [*body.unused, *unused], growing)

    async def whole(self, service: Service) -> HTTPResponse:
        async with service.answering(self.asked) as answering:
            async for pieces in answering.batches():
                self.growing.add(pieces)
            self._end(answering)
            return json(self.growing.whole(**self._close(answering)))

    async def chunks(self, service: Service) -> AsyncIterator[bytes]:
        async with service.answering(self.asked) as answering:
            async for pieces in answering.batches():
                yield self.growing.begin() + self.growing.add(pieces)
            told = self.growing.begin() + self._end(answering)
            closed = self._close(answering)
            yield told + self.growing.state(f"response.{closed['status']}", **closed)

    def late(self, error: Exception) -> bytes:
        told = problem(error)
        reason = {"code": told.code or told.kind, "message": told.message}
        return self.growing.fail(reason)

    def _end(self, answering: ActiveRun) -> bytes:
        response = answering.response
        told = b""
        if not self.growing.told:
            kinds: dict[PieceKind, str] = {"reasoning": response.reasoning, "text": response.text}
            told += self.growing.add(Piece(kind, text) for kind, text in kinds.items() if text)
        told += self.growing.close(response.logprobs)
        for call in tool_calls(response):
            told += self.growing.call(call)
        return told

    def _close(self, answering: ActiveRun) -> dict[str, Any]:
        response, trace = answering.response, answering.trace
        used = tokens(response, trace)
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
            "moa": extension(answering, self.unused),
        }


def _head(body: ResponsesBody) -> dict[str, Any]:
    """What a response says of the call, whatever becomes of it."""
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
