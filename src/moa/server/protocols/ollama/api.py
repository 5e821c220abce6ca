"""Ollama's API, so that whatever speaks to an Ollama can speak to a mixture."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.requests import Request as HTTPRequest
from starlette.responses import PlainTextResponse
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ....errors import RequestError
from ....mixture.graph import sees_images, smallest_window
from ....mixture.mixture import Mixture
from ....types import Request
from ...responses import StreamingReply, json, parsed, problem, unless_gone
from ...schemas import ANY, TABLE, TEXT, YES, Operation, rows, table
from ...service import ActiveRun, RunRequest, Service
from ..account import extension, tool_calls
from ..effort import sized
from ..overrides import overridden
from ..tool_calls import arguments
from .body import ChatBody, GenerateBody

VERSION = "0.13.0"
"""The version of Ollama whose API this is; clients ask for one that is new enough."""

ARCHITECTURE = "moa"


class ShowBody(BaseModel):
    """A call of /api/show. Old clients say `name`."""

    model: str = ""
    name: str = ""


ERROR = table({"error": ANY})
ANSWER = {"model": TEXT, "created_at": TEXT, "done": YES, "done_reason": TEXT}
LINES = "application/x-ndjson"

OPERATIONS = (
    Operation("get", "/", "Say that somebody is here (Ollama)"),
    Operation("get", "/api/version", "Say which version of Ollama this is like", table({"version": TEXT})),
    Operation(
        "get", "/api/tags", "List the models (Ollama)", table({"models": rows(table({"name": TEXT, "details": TABLE}))})
    ),
    Operation("get", "/api/ps", "List the models in memory (Ollama)", table({"models": rows(TABLE)})),
    Operation(
        "post",
        "/api/show",
        "Show a model (Ollama)",
        table({"details": TABLE, "model_info": TABLE, "capabilities": rows(TEXT)}),
        ShowBody,
        error=ERROR,
    ),
    Operation(
        "post",
        "/api/chat",
        "Answer a conversation (Ollama)",
        table({**ANSWER, "message": table({"role": TEXT, "content": TEXT})}),
        ChatBody,
        LINES,
        error=ERROR,
    ),
    Operation(
        "post",
        "/api/generate",
        "Answer a prompt (Ollama)",
        table({**ANSWER, "response": TEXT}),
        GenerateBody,
        LINES,
        error=ERROR,
    ),
)


def failed(error: Exception) -> HTTPResponse:
    """An error in Ollama's shape."""
    told = problem(error)
    return json({"error": told.message}, told.status, told.headers)


def late(error: Exception) -> bytes:
    """An error as the last line of a stream."""
    return line({"error": problem(error).message})


def line(value: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    return orjson.dumps(value) + b"\n"


class Told:
    """The replies to one call: of /api/chat, or of /api/generate, which have other names for the same."""

    def __init__(self, name: str, chat: bool) -> None:
        self._name = name
        self._chat = chat

    def words(self, text: str = "", thinking: str = "", calls: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """A part of the answer, or all of it."""
        thought = {"thinking": thinking} if thinking else {}
        if not self._chat:
            return {**self._head(), "response": text, **thought, "done": False}
        message: dict[str, Any] = {"role": "assistant", "content": text, **thought}
        if told := [_call(number, call) for number, call in enumerate(calls)]:
            message["tool_calls"] = told
        return {**self._head(), "message": message, "done": False}

    def nothing(self, reason: str) -> dict[str, Any]:
        """The reply to a call that asks nothing."""
        return {**self.words(), "done": True, "done_reason": reason}

    def end(self, answering: ActiveRun) -> dict[str, Any]:
        """How the answer ended and what it took: tokens over all calls, times in nanoseconds."""
        response, trace = answering.response, answering.trace
        before = trace.time if trace.first_word is None else trace.first_word
        return {
            "done": True,
            "done_reason": "length" if response.finish_reason == "length" else "stop",
            **({} if self._chat else {"context": []}),
            "total_duration": _nanoseconds(trace.time),
            "load_duration": 0,
            "prompt_eval_count": response.usage.input_tokens,
            "prompt_eval_duration": _nanoseconds(before),
            "eval_count": response.usage.output_tokens,
            "eval_duration": max(1, _nanoseconds(trace.time - before)),  # clients divide by it
            "moa": extension(answering),
        }

    def _head(self) -> dict[str, Any]:
        return {"model": self._name, "created_at": _now()}


def routes(service: Service) -> list[Route]:
    """What a client of Ollama's asks: whether it is there, which models, what they can do, and answers."""

    async def here(http: HTTPRequest) -> HTTPResponse:
        return PlainTextResponse("Ollama is running")

    async def version(http: HTTPRequest) -> HTTPResponse:
        return json({"version": VERSION})

    async def tags(http: HTTPRequest) -> HTTPResponse:
        return json({"models": [_card(service, name) for name in service.names()]})

    async def loaded(http: HTTPRequest) -> HTTPResponse:
        return json({"models": []})  # no model is held in memory here

    async def show(http: HTTPRequest) -> HTTPResponse:
        try:
            body = await parsed(http, ShowBody)
            return json(_about(service, body.model or body.name))
        except Exception as error:
            return failed(error)

    async def chat(http: HTTPRequest) -> HTTPResponse:
        try:
            body = await parsed(http, ChatBody)
            return await _answer(service, http, body, body.request(), Told(body.model, chat=True))
        except Exception as error:
            return failed(error)

    async def generate(http: HTTPRequest) -> HTTPResponse:
        try:
            body = await parsed(http, GenerateBody)
            return await _answer(service, http, body, body.request(), Told(body.model, chat=False))
        except Exception as error:
            return failed(error)

    return [
        Route("/", here, methods=["GET"]),
        Route("/api/version", version, methods=["GET"]),
        Route("/api/tags", tags, methods=["GET"]),
        Route("/api/ps", loaded, methods=["GET"]),
        Route("/api/show", show, methods=["POST"]),
        Route("/api/chat", chat, methods=["POST"]),
        Route("/api/generate", generate, methods=["POST"]),
    ]


async def _answer(
    service: Service, http: HTTPRequest, body: ChatBody | GenerateBody, request: Request | None, told: Told
) -> HTTPResponse:
    if request is None:
        service.model(body.model)
        return json(told.nothing("unload" if body.unloads else "load"))
    asked = _asked(service, body, request)
    if not asked.stream:
        return await unless_gone(http.receive, _whole(service, asked, told))
    return StreamingReply(
        _lines(service, asked, told),
        failed,
        "application/x-ndjson",
        keep_alive=line(told.words()),
        every=service.table.keep_alive,
        late=late,
    )


def _asked(service: Service, body: ChatBody | GenerateBody, request: Request) -> RunRequest:
    """What is asked. As with Ollama's own thinking models, thinking is told unless it is declined."""
    show = "off" if body.think is False else body.moa.proposals if body.moa else None
    asked = service.asked(body.model, request, stream=body.streams, show=show)
    if isinstance(asked.model, Mixture) and isinstance(body.think, str):
        asked, _ = sized(service, body.model, asked, body.think)
    return overridden(asked, body.moa)


async def _whole(service: Service, asked: RunRequest, told: Told) -> HTTPResponse:
    async with service.answering(asked) as answering:
        pieces = await answering.proposals()
        response = answering.response
        thinking = "".join(piece.text for piece in pieces) + response.reasoning
        thinking = thinking if asked.show != "off" else ""
        return json({**told.words(response.text, thinking, tool_calls(response)), **told.end(answering)})


async def _lines(service: Service, asked: RunRequest, told: Told) -> AsyncIterator[bytes]:
    silent = True
    async with service.answering(asked) as answering:
        async for pieces in answering.batches():
            out = b""
            for is_text, group in groupby(pieces, key=lambda piece: piece.kind == "text"):
                words = "".join(piece.text for piece in group)
                if is_text:
                    silent = False
                    out += line(told.words(words))
                elif asked.show != "off":
                    out += line(told.words(thinking=words))
            if out:
                yield out
        response = answering.response
        rest = line(told.words(response.text)) if silent and response.text else b""
        rest += line(told.words(calls=tool_calls(response))) if response.tool_calls else b""
        yield rest + line({**told.words(), **told.end(answering)})


def _card(service: Service, name: str) -> dict[str, Any]:
    """A model in the list. A mixture has its bare name here, since Ollama's names have one colon, before the tag."""
    full = f"{name.removeprefix('moa:')}:latest"
    return {
        "name": full,
        "model": full,
        "modified_at": _started(service),
        "size": 0,
        "digest": hashlib.sha256(full.encode()).hexdigest(),
        "details": _details(),
    }


def _about(service: Service, name: str) -> dict[str, Any]:
    if not name:
        raise RequestError("model: name the model to show")
    model = service.model(name)
    return {
        "modelfile": f"FROM {model.name}\n",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _details(),
        "model_info": {
            "general.architecture": ARCHITECTURE,
            "general.basename": model.name,
            f"{ARCHITECTURE}.context_length": smallest_window(model),
        },
        "capabilities": ["completion", "tools", *(["vision"] if sees_images(model) else []), "thinking"],
        "modified_at": _started(service),
    }


def _details() -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "",
        "family": ARCHITECTURE,
        "families": [ARCHITECTURE],
        "parameter_size": "",
        "quantization_level": "",
    }


def _call(number: int, call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"index": number, "name": call["function"]["name"], "arguments": arguments(call)}
    return {"id": call["id"], "function": function}


def _started(service: Service) -> str:
    return _stamp(datetime.fromtimestamp(service.started_at, UTC))


def _now() -> str:
    return _stamp(datetime.now(UTC))


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
