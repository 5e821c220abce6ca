"""OpenAI's chat completions and list of models."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from .. import schema
from ..errors import RequestError
from ..narration import Piece
from ..trace import Trace
from ..types import Message, Request, Response
from .overrides import Overrides, overridden
from .replies import Streamed, json, parsed, problem, unless_gone
from .service import Asked, Service, Show


class ChatMessage(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def message(self) -> Message:
        content = tuple(self.content) if isinstance(self.content, list) else self.content or ""
        return Message(self.role, content, self.name, tuple(self.tool_calls or ()), self.tool_call_id)


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatBody(BaseModel):
    """A chat-completions call. Fields that are not known are accepted, as OpenAI does, and not used."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    reasoning_effort: str | None = None
    moa: Overrides | None = None

    def request(self) -> Request:
        """The request to the model. Raises `RequestError`."""
        if self.n is not None and self.n > 1:
            raise RequestError("n must be 1: a mixture gives one answer")
        schema.check(self.response_format)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        extra = {"logprobs": True, "top_logprobs": self.top_logprobs or 0} if self.logprobs else {}
        return Request(
            [message.message() for message in self.messages],
            self.temperature,
            self.top_p,
            self.max_completion_tokens or self.max_tokens,
            self.seed,
            stop,
            tuple(self.tools or ()),
            self.tool_choice,
            self.response_format,
            extra,
        )


def failed(error: Exception) -> HTTPResponse:
    """An error in OpenAI's shape."""
    told = problem(error)
    return json(error_body(error), told.status, told.headers)


def error_body(error: Exception) -> dict[str, Any]:
    told = problem(error)
    return {"error": {"message": told.message, "type": told.kind, "param": told.param, "code": told.code}}


def usage(response: Response, trace: Trace) -> dict[str, Any]:
    """Tokens over all calls; those that proposers wrote, and those spent on thinking, are reasoning tokens."""
    total = response.usage
    proposed = sum(
        node.usage.output_tokens for node in trace.calls if node.usage and not node.start.answer and not node.error
    )
    return {
        "prompt_tokens": total.input_tokens,
        "completion_tokens": total.output_tokens,
        "total_tokens": total.input_tokens + total.output_tokens,
        "prompt_tokens_details": {"cached_tokens": total.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": min(proposed + total.reasoning_tokens, total.output_tokens)},
    }


def extension(response: Response, trace: Trace) -> dict[str, Any]:
    """What only a mixture has to tell: the run, its cost, what was lost, and every member's part."""
    assert trace.root
    return {
        "run_id": trace.root.start.run,
        "cost": response.usage.cost,
        "fallback": response.fallback,
        "lost": [{"model": one.model, "layer": one.layer, "error": one.error} for one in trace.lost],
        "members": [
            {
                "model": node.start.model,
                "role": node.start.role,
                "layer": node.start.layer,
                "input_tokens": node.usage.input_tokens if node.usage else None,
                "output_tokens": node.usage.output_tokens if node.usage else None,
                "cost": node.usage.cost if node.usage else None,
                "seconds": round(node.end.time - node.start.time, 4) if node.end else None,
                "error": node.error,
            }
            for node in trace.calls
        ],
    }


class Shown:
    """How pieces become a reply's words: what is content, and what is reasoning."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._open = False

    def split(self, piece: Piece) -> tuple[str, str]:
        """The content and the reasoning in a piece."""
        if piece.kind != "text":
            return self._inside(piece.text) if self._show in ("think", "details") else ("", piece.text)
        return self.close() + piece.text, ""

    def close(self) -> str:
        """The end of the proposals, where they stand in the content."""
        if not self._open:
            return ""
        self._open = False
        return "\n</think>\n\n" if self._show == "think" else "\n</details>\n\n"

    def _inside(self, text: str) -> tuple[str, str]:
        opening = "<think>\n" if self._show == "think" else "<details>\n<summary>Proposals</summary>\n\n"
        told = text if self._open else opening + text
        self._open = True
        return told, ""


def routes(service: Service) -> list[Route]:
    """POST /v1/chat/completions, GET /v1/models, GET /v1/models/{id}."""

    async def chat(http: HTTPRequest) -> HTTPResponse:
        try:
            body = await parsed(http, ChatBody)
            asked = service.asked(body.model, body.request(), stream=bool(body.stream), show=_show(body))
            asked = replace(asked, model=overridden(asked.model, body.moa))
            if asked.stream:
                with_usage = bool(body.stream_options and body.stream_options.include_usage)
                chunks = _chunks(service, asked, body.model, with_usage)
                return Streamed(chunks, failed, every=service.table.keep_alive)
            return await unless_gone(http, _whole(service, asked, body.model))
        except Exception as error:
            return failed(error)

    async def models(http: HTTPRequest) -> HTTPResponse:
        return json({"object": "list", "data": [_card(service, name) for name in service.names()]})

    async def model(http: HTTPRequest) -> HTTPResponse:
        try:
            service.model(http.path_params["id"])
        except Exception as error:
            return failed(error)
        return json(_card(service, http.path_params["id"]))

    return [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{id:path}", model, methods=["GET"]),
    ]


def _show(body: ChatBody) -> Show | None:
    return body.moa.proposals if body.moa else None


def _card(service: Service, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": service.started_at, "owned_by": "moa"}


async def _whole(service: Service, asked: Asked, name: str) -> HTTPResponse:
    async with service.answering(asked) as answering:
        async for _ in answering.batches():
            pass
        response = answering.response
        message: dict[str, Any] = {"role": "assistant", "content": response.text or None}
        if response.reasoning:
            message |= {"reasoning_content": response.reasoning, "reasoning": response.reasoning}
        if response.tool_calls:
            message["tool_calls"] = list(response.tool_calls)
        choice = {
            "index": 0,
            "message": message,
            "logprobs": response.logprobs,
            "finish_reason": finish_reason(response),
        }
        return json(
            {
                "id": f"chatcmpl-{secrets.token_hex(12)}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": name,
                "choices": [choice],
                "usage": usage(response, answering.trace),
                "moa": extension(response, answering.trace),
            }
        )


def finish_reason(response: Response) -> str:
    """One of the reasons OpenAI's clients know."""
    if response.tool_calls:
        return "tool_calls"
    return response.finish_reason if response.finish_reason in ("length", "content_filter") else "stop"


async def _chunks(service: Service, asked: Asked, name: str, with_usage: bool) -> AsyncIterator[bytes]:
    shown = Shown(asked.show)
    head = {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": name,
    }

    def chunk(delta: dict[str, Any], finish: str | None = None, **further: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse({**head, "choices": [choice], **further})

    begun = False
    async with service.answering(asked) as answering:
        try:
            async for pieces in answering.batches():
                out = b"" if begun else chunk({"role": "assistant", "content": ""})
                begun = True
                for content, thought in merged(shown, pieces):
                    delta = {"content": content} if content else {"reasoning_content": thought, "reasoning": thought}
                    out += chunk(delta)
                yield out
        except Exception as error:
            if not begun:
                raise
            yield sse(error_body(error)) + b"data: [DONE]\n\n"
            return
        response = answering.response
        last = b"" if begun else chunk({"role": "assistant", "content": ""})
        if rest := shown.close():
            last += chunk({"content": rest})
        if response.tool_calls:
            last += chunk({"tool_calls": [{"index": i, **call} for i, call in enumerate(response.tool_calls)]})
        last += chunk({}, finish_reason(response), moa=extension(response, answering.trace))
        if with_usage:
            last += sse({**head, "choices": [], "usage": usage(response, answering.trace)})
        yield last + b"data: [DONE]\n\n"


def merged(shown: Shown, pieces: list[Piece]) -> list[tuple[str, str]]:
    """The content and reasoning of the pieces, neighbours of one kind put together."""
    told: list[tuple[str, str]] = []
    for piece in pieces:
        content, thought = shown.split(piece)
        if told and bool(told[-1][0]) == bool(content):
            told[-1] = (told[-1][0] + content, told[-1][1] + thought)
        elif content or thought:
            told.append((content, thought))
    return told


def sse(value: Any) -> bytes:
    """One server-sent event of JSON."""
    return b"data: " + orjson.dumps(value) + b"\n\n"
