"""OpenAI's chat completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ....errors import RequestError
from ....mixture.mixture import Mixture
from ....types import Response
from ...errors import blank, late, sse
from ...responses import json
from ...schemas import NUMBER, TABLE, TEXT, WHOLE, Operation, one_of, or_null, rows, table
from ...service import ActiveRun, RunRequest, Service
from ..account import extension as extension
from ..account import finish_reason, new_id, tool_calls, usage
from ..effort import sized
from ..endpoint import answer
from ..overrides import overridden
from ..proposals import ProposalRenderer
from .chat_body import ChatBody

EXTENSION = table(
    {
        "run_id": TEXT,
        "model": TEXT,
        "cost": or_null(NUMBER),
        "agreed": rows(TABLE),
        "unused": rows(TEXT),
        "members": rows(TABLE),
        "provenance": TABLE,
    },
    ("provenance",),
)
USAGE = table({"prompt_tokens": WHOLE, "completion_tokens": WHOLE, "total_tokens": WHOLE})
CHOICE = table({"index": WHOLE, "message": table({"role": TEXT, "content": or_null(TEXT)}), "finish_reason": TEXT})

OPERATIONS = (
    Operation(
        "post",
        "/v1/chat/completions",
        "Answer a conversation (OpenAI)",
        table(
            {
                "id": TEXT,
                "object": one_of("chat.completion"),
                "created": WHOLE,
                "model": TEXT,
                "choices": rows(CHOICE),
                "usage": USAGE,
                "moa": EXTENSION,
            }
        ),
        ChatBody,
        "text/event-stream",
    ),
)


def routes(service: Service) -> list[Route]:
    """POST /v1/chat/completions."""
    return [answer("/v1/chat/completions", service, ChatBody, _Reply.of)]


@dataclass(frozen=True)
class _Reply:
    """One call being answered, whole or in chunks."""

    body: ChatBody
    asked: RunRequest
    unused: list[str]
    shown: ProposalRenderer
    late = staticmethod(late)

    @staticmethod
    def of(service: Service, body: ChatBody) -> _Reply:
        """Raises `RequestError` or `NotFound`."""
        show = body.moa.proposals if body.moa else None
        asked = service.asked(body.model, body.request(), stream=bool(body.stream), show=show)
        asked, unused = sized(service, body.model, asked, body.reasoning_effort)
        asked = overridden(asked, body.moa)
        if not asked.stream and show is None:
            asked = replace(asked, show="off")  # a whole reply is the answer; proposals are for those who wait
        if body.logprobs and isinstance(asked.model, Mixture) and not asked.model.aggregator.models:
            raise RequestError(f"logprobs: {asked.model.name} votes, so no model writes its answer")
        return _Reply(body, asked, [*body.unused, *unused], ProposalRenderer(asked.show))

    async def whole(self, service: Service) -> HTTPResponse:
        before, thought = "", ""
        async with service.answering(self.asked) as answering:
            for content, more in self.shown.merged(await answering.proposals()):
                before, thought = before + content, thought + more
            response = answering.response
            before, thought = before + self.shown.close(), thought + response.reasoning
            message: dict[str, Any] = {
                "role": "assistant",
                "content": before + response.text or None,
                "refusal": None,
            }
            if thought:
                message |= {"reasoning_content": thought, "reasoning": thought}
            if response.tool_calls:
                message["tool_calls"] = tool_calls(response)
            choice = {
                "index": 0,
                "message": message,
                "logprobs": response.logprobs,
                "finish_reason": finish_reason(response),
            }
            return json(
                {
                    **self._head("chat.completion"),
                    "choices": [choice],
                    "usage": usage(response, answering.trace),
                    "moa": self._extension(answering),
                }
            )

    async def chunks(self, service: Service) -> AsyncIterator[bytes]:
        head = self._head("chat.completion.chunk") | ({"usage": None} if self.body.with_usage else {})

        def chunk(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None, **further: Any) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return sse({**head, "choices": [choice], **further})

        said = blank(chunk({"content": ""}), 1)
        thought = blank(chunk({"reasoning_content": "", "reasoning": ""}), 2)
        start = chunk({"role": "assistant", "content": ""})
        async with service.answering(self.asked) as answering:
            async for pieces in answering.batches():
                out = start
                start = b""
                for content, reasoning in self.shown.merged(pieces):
                    out += said(content) if content else thought(reasoning)
                yield out
            response = answering.response
            last = start
            if rest := self.shown.close():
                last += chunk({"content": rest})
            if response.tool_calls:
                last += chunk({"tool_calls": [{"index": i, **call} for i, call in enumerate(tool_calls(response))]})
            last += chunk({}, finish_reason(response), response.logprobs, moa=self._extension(answering))
            if self.body.with_usage:
                last += sse({**head, "choices": [], "usage": usage(response, answering.trace)})
            yield last + b"data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": new_id("chatcmpl-"),
            "object": kind,
            "created": int(time.time()),
            "model": self.body.model,
        }

    def _extension(self, answering: ActiveRun) -> dict[str, Any]:
        return extension(answering, [*self.unused, *_missing(self.body, answering.response)])


def _missing(body: ChatBody, response: Response) -> list[str]:
    """Options that the model which answered did not heed."""
    return ["logprobs"] if body.logprobs and not response.logprobs else []
