"""OpenAI's legacy completions: the prompt becomes a user's message."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ....config.schema import Seed
from ....types import Message, Request
from ...http import InvalidParam, json, sse
from ...schemas import Operation
from ...service import ActiveRun, RunRequest, Service
from ..common import ProposalRenderer, extension, finish_reason, new_id, usage
from ..endpoint import Reply, answer
from ..resolve import Overrides, resolve, shown
from .chat_body import PASSED_ON, MaxTokens, Open, StreamOptions, Temperature, TopP, stops


class CompletionBody(Open):
    """A completion. Unknown fields are accepted; the reply lists them as unused."""

    model: str
    prompt: str | list[str]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    echo: bool | None = None
    n: Annotated[int, Field(ge=1, le=128, description="1: a mixture gives one answer")] | None = None
    best_of: Annotated[int, Field(ge=1, le=20, description="1: a mixture gives one answer")] | None = None
    moa: Overrides | None = None

    @property
    def text(self) -> str:
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]

    def request(self) -> Request:
        """Return the request to the model. Raises `RequestError`."""
        if (self.n or 1) > 1 or (self.best_of or 1) > 1:
            raise InvalidParam("n", "n and best_of must be 1; a mixture gives one answer")
        if isinstance(self.prompt, list) and len(self.prompt) != 1:
            raise InvalidParam("prompt", f"must be one prompt, got {len(self.prompt)}")
        if self.further.get("suffix"):
            raise InvalidParam("suffix", "not supported; a mixture cannot fill in the middle")
        if self.further.get("logprobs"):
            raise InvalidParam("logprobs", "not supported; use /v1/chat/completions")
        return Request(
            [Message("user", self.text)],
            self.temperature,
            self.top_p,
            self.max_tokens,
            self.seed,
            stops(self.stop),
            extra={key: value for key, value in self.further.items() if key in PASSED_ON},
        )

    @property
    def further(self) -> dict[str, Any]:
        """The unknown fields that are set."""
        return {key: value for key, value in (self.model_extra or {}).items() if value is not None}


class CompletionChoiceJSON(TypedDict):
    index: int
    text: str
    finish_reason: str


class CompletionJSON(TypedDict):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoiceJSON]
    usage: dict[str, Any]
    moa: dict[str, Any]


OPERATIONS = (
    Operation(
        "post",
        "/v1/completions",
        "Answer a prompt (OpenAI, legacy)",
        CompletionJSON,
        CompletionBody,
        "text/event-stream",
    ),
)


def routes(service: Service) -> list[Route]:
    """POST /v1/completions."""
    return [answer("/v1/completions", service, CompletionBody, CompletionReply.of)]


@dataclass(frozen=True)
class CompletionReply(Reply):
    """A completion, whole or in chunks. It has no field for reasoning, so proposals are shown only in the text."""

    body: CompletionBody
    run: RunRequest
    renderer: ProposalRenderer

    @staticmethod
    def of(service: Service, body: CompletionBody) -> CompletionReply:
        """Return the reply to a body. Raises `RequestError` or `ModelNotFound`."""
        run = resolve(
            service,
            body.model,
            body.request(),
            overrides=body.moa,
            show=shown(body.moa, None if body.stream else "off"),
            stream=bool(body.stream),
        )
        run = replace(run, show="off") if run.show == "fields" else run
        return CompletionReply(body, run, ProposalRenderer(run.show))

    @property
    def streams(self) -> bool:
        return self.run.stream

    async def whole(self, service: Service) -> HTTPResponse:
        text = self.body.text if self.body.echo else ""
        async with service.run(self.run) as active:
            text += "".join(content for content, _ in self.renderer.merge(await active.proposals()))
            text += self.renderer.close() + active.response.text
            reason = finish_reason(active.response)
            return json({**self._head(), "choices": [_choice(text, reason)], **self._end(active)})

    async def chunks(self, service: Service) -> AsyncIterator[bytes]:
        head = self._head()
        start = sse({**head, "choices": [_choice(self.body.text)]}) if self.body.echo else b""
        async with service.run(self.run) as active:
            async for pieces in active.batches():
                text = "".join(content for content, _ in self.renderer.merge(pieces))
                if text:
                    yield start + sse({**head, "choices": [_choice(text)]})
                    start = b""
            last = _choice(self.renderer.close(), finish_reason(active.response))
            end = self._end(active)
            used = end.pop("usage")
            start += sse({**head, "choices": [last], **end})
            if self.body.stream_options and self.body.stream_options.include_usage:
                start += sse({**head, "choices": [], "usage": used})
            yield start + b"data: [DONE]\n\n"

    def _head(self) -> dict[str, Any]:
        return {
            "id": new_id("cmpl-"),
            "object": "text_completion",
            "created": int(time.time()),
            "model": self.body.model,
        }

    def _end(self, active: ActiveRun) -> dict[str, Any]:
        response, trace = active.response, active.trace
        unused = sorted(key for key in self.body.further if key not in PASSED_ON)
        return {"usage": usage(response, trace), "moa": extension(active, unused)}


def _choice(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
