"""OpenAI's completions, the form from before there was chat: the prompt is a user's message."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ....config.schema import Seed
from ....errors import RequestError
from ....types import Message, Request
from ...errors import late, sse
from ...responses import json
from ...schemas import TABLE, TEXT, WHOLE, Operation, one_of, rows, table
from ...service import ActiveRun, RunRequest, Service
from ..account import extension, finish_reason, new_id, usage
from ..endpoint import answer
from ..overrides import Overrides, overridden
from ..proposals import ProposalRenderer
from .chat_body import PASSED_ON, MaxTokens, Open, StreamOptions, Temperature, TopP, stops


class CompletionBody(Open):
    """A call for a completion. Fields that are not known are accepted; the reply names them."""

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
        """The request to the model. Raises `RequestError`."""
        if (self.n or 1) > 1 or (self.best_of or 1) > 1:
            raise RequestError("n and best_of must be 1: a mixture gives one answer")
        if isinstance(self.prompt, list) and len(self.prompt) != 1:
            raise RequestError(f"prompt: one at a time, not {len(self.prompt)}")
        if self.further.get("suffix"):
            raise RequestError("suffix: models that answer cannot fill in the middle")
        if self.further.get("logprobs"):
            raise RequestError("logprobs: ask /v1/chat/completions for them")
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
        """The fields that are not ours and say something."""
        return {key: value for key, value in (self.model_extra or {}).items() if value is not None}


OPERATIONS = (
    Operation(
        "post",
        "/v1/completions",
        "Answer a prompt (OpenAI, the older form)",
        table(
            {
                "id": TEXT,
                "object": one_of("text_completion"),
                "created": WHOLE,
                "model": TEXT,
                "choices": rows(table({"index": WHOLE, "text": TEXT, "finish_reason": TEXT})),
                "usage": TABLE,
                "moa": TABLE,
            }
        ),
        CompletionBody,
        "text/event-stream",
    ),
)


def routes(service: Service) -> list[Route]:
    """POST /v1/completions."""
    return [answer("/v1/completions", service, CompletionBody, _Reply.of)]


@dataclass(frozen=True)
class _Reply:
    """One call being answered, whole or in chunks. There is no place for reasoning, so proposals show only as text."""

    body: CompletionBody
    asked: RunRequest
    shown: ProposalRenderer
    late = staticmethod(late)

    @staticmethod
    def of(service: Service, body: CompletionBody) -> _Reply:
        """Raises `RequestError` or `NotFound`."""
        show = body.moa.proposals if body.moa else None
        asked = service.asked(body.model, body.request(), stream=bool(body.stream), show=show)
        asked = overridden(asked, body.moa)
        if asked.show == "fields" or (not asked.stream and show is None):
            asked = replace(asked, show="off")
        return _Reply(body, asked, ProposalRenderer(asked.show))

    async def whole(self, service: Service) -> HTTPResponse:
        text = self.body.text if self.body.echo else ""
        async with service.answering(self.asked) as answering:
            text += "".join(content for content, _ in self.shown.merged(await answering.proposals()))
            text += self.shown.close() + answering.response.text
            reason = finish_reason(answering.response)
            return json({**self._head(), "choices": [_choice(text, reason)], **self._account(answering)})

    async def chunks(self, service: Service) -> AsyncIterator[bytes]:
        head = self._head()
        start = sse({**head, "choices": [_choice(self.body.text)]}) if self.body.echo else b""
        async with service.answering(self.asked) as answering:
            async for pieces in answering.batches():
                told = "".join(content for content, _ in self.shown.merged(pieces))
                if told:
                    yield start + sse({**head, "choices": [_choice(told)]})
                    start = b""
            last = _choice(self.shown.close(), finish_reason(answering.response))
            account = self._account(answering)
            used = account.pop("usage")
            start += sse({**head, "choices": [last], **account})
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

    def _account(self, answering: ActiveRun) -> dict[str, Any]:
        response, trace = answering.response, answering.trace
        unused = sorted(key for key in self.body.further if key not in PASSED_ON)
        return {"usage": usage(response, trace), "moa": extension(answering, unused)}


def _choice(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
