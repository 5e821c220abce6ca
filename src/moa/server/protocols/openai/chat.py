"""OpenAI's chat completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ...http import blank, json, sse
from ...schemas import Operation
from ...service import ActiveRun, RunRequest, Service
from ..common import ExtensionJSON, ProposalRenderer, UsageJSON, extension, finish_reason, new_id, tool_calls, usage
from ..endpoint import Reply, answer
from ..resolve import resolve, shown
from .chat_body import ChatBody


class MessageJSON(TypedDict):
    role: str
    content: str | None


class ChoiceJSON(TypedDict):
    index: int
    message: MessageJSON
    finish_reason: str


class ChatCompletionJSON(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChoiceJSON]
    usage: UsageJSON
    moa: ExtensionJSON


OPERATIONS = (
    Operation(
        "post",
        "/v1/chat/completions",
        "Answer a conversation (OpenAI)",
        ChatCompletionJSON,
        ChatBody,
        "text/event-stream",
    ),
)


def routes(service: Service) -> list[Route]:
    """POST /v1/chat/completions."""
    return [answer("/v1/chat/completions", service, ChatBody, ChatReply.of)]


@dataclass(frozen=True)
class ChatReply(Reply):
    """A chat completion, whole or in chunks."""

    body: ChatBody
    run: RunRequest
    renderer: ProposalRenderer

    @staticmethod
    def of(service: Service, body: ChatBody) -> ChatReply:
        """Return the reply to a body. Raises `RequestError` or `ModelNotFound`."""
        run = resolve(
            service,
            body.model,
            body.request(),
            effort=body.reasoning_effort,
            overrides=body.moa,
            # A whole reply is the answer alone; proposals are for clients that wait for it.
            show=shown(body.moa, None if body.stream else "off"),
            stream=bool(body.stream),
        )
        return ChatReply(body, run, ProposalRenderer(run.show))

    @property
    def streams(self) -> bool:
        return self.run.stream

    async def whole(self, service: Service) -> HTTPResponse:
        content, reasoning = "", ""
        async with service.run(self.run) as active:
            for text, thought in self.renderer.merge(await active.proposals()):
                content, reasoning = content + text, reasoning + thought
            response = active.response
            content, reasoning = content + self.renderer.close(), reasoning + response.reasoning
            message: dict[str, Any] = {
                "role": "assistant",
                "content": content + response.text or None,
                "refusal": None,
            }
            if reasoning:
                message |= {"reasoning_content": reasoning, "reasoning": reasoning}
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
                    "usage": usage(response, active.trace),
                    "moa": self._extension(active),
                }
            )

    async def chunks(self, service: Service) -> AsyncIterator[bytes]:
        head = self._head("chat.completion.chunk") | ({"usage": None} if self.body.with_usage else {})

        def chunk(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None, **more: Any) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return sse({**head, "choices": [choice], **more})

        content_chunk = blank(chunk({"content": ""}), 1)
        reasoning_chunk = blank(chunk({"reasoning_content": "", "reasoning": ""}), 2)
        start = chunk({"role": "assistant", "content": ""})
        async with service.run(self.run) as active:
            async for pieces in active.batches():
                out = start
                start = b""
                for content, reasoning in self.renderer.merge(pieces):
                    out += content_chunk(content) if content else reasoning_chunk(reasoning)
                yield out
            response = active.response
            last = start
            if rest := self.renderer.close():
                last += chunk({"content": rest})
            if response.tool_calls:
                last += chunk({"tool_calls": [{"index": i, **call} for i, call in enumerate(tool_calls(response))]})
            last += chunk({}, finish_reason(response), response.logprobs, moa=self._extension(active))
            if self.body.with_usage:
                last += sse({**head, "choices": [], "usage": usage(response, active.trace)})
            yield last + b"data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": new_id("chatcmpl-"),
            "object": kind,
            "created": int(time.time()),
            "model": self.body.model,
        }

    def _extension(self, active: ActiveRun) -> dict[str, Any]:
        missing = ["logprobs"] if self.body.logprobs and not active.response.logprobs else []
        return extension(active, [*self.body.unused, *self.run.unused, *missing])
