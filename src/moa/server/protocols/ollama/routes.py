"""Ollama's API: its clients see each mixture as a model."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.requests import Request as HTTPRequest
from starlette.responses import PlainTextResponse
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ....model import accepts_images, smallest_window
from ...errors import problem, route
from ...http import InvalidParam, json, parse
from ...schemas import Operation
from ...service import ActiveRun, RunRequest, Service
from ..common import extension, tool_arguments, tool_calls
from ..endpoint import Reply, answer
from ..resolve import resolve, shown
from .body import GenerateBody, OllamaChatBody

VERSION = "0.13.0"
"""The version of Ollama whose API this is. Clients require a recent one."""

ARCHITECTURE = "moa"


class ShowBody(BaseModel):
    """A call of /api/show. Old clients send `name`."""

    model: str = ""
    name: str = ""


class OllamaErrorJSON(TypedDict):
    error: Any


class VersionJSON(TypedDict):
    version: str


class TagJSON(TypedDict):
    name: str
    details: dict[str, Any]


class TagsJSON(TypedDict):
    models: list[TagJSON]


class LoadedJSON(TypedDict):
    models: list[dict[str, Any]]


class ShowJSON(TypedDict):
    details: dict[str, Any]
    model_info: dict[str, Any]
    capabilities: list[str]


class AnswerJSON(TypedDict):
    model: str
    created_at: str
    done: bool
    done_reason: str


class OllamaMessageJSON(TypedDict):
    role: str
    content: str


class ChatAnswerJSON(AnswerJSON):
    message: OllamaMessageJSON


class GeneratedJSON(AnswerJSON):
    response: str


LINES = "application/x-ndjson"

OPERATIONS = (
    Operation("get", "/", "Return a greeting (Ollama)"),
    Operation("get", "/api/version", "Return the version of Ollama whose API this is", VersionJSON),
    Operation("get", "/api/tags", "List the models (Ollama)", TagsJSON),
    Operation("get", "/api/ps", "List the models in memory (Ollama)", LoadedJSON),
    Operation(
        "post",
        "/api/show",
        "Show a model (Ollama)",
        ShowJSON,
        ShowBody,
        error=OllamaErrorJSON,
    ),
    Operation(
        "post",
        "/api/chat",
        "Answer a conversation (Ollama)",
        ChatAnswerJSON,
        OllamaChatBody,
        LINES,
        error=OllamaErrorJSON,
    ),
    Operation(
        "post",
        "/api/generate",
        "Answer a prompt (Ollama)",
        GeneratedJSON,
        GenerateBody,
        LINES,
        error=OllamaErrorJSON,
    ),
)


def error_response(error: Exception) -> HTTPResponse:
    """Return an error in Ollama's shape."""
    found = problem(error)
    return json({"error": found.message}, found.status, found.headers)


def line(value: Mapping[str, Any]) -> bytes:
    """Return one line of JSON."""
    return orjson.dumps(value) + b"\n"


def routes(service: Service) -> list[Route]:
    """The routes that Ollama's clients call: a greeting, the version, the models, and answers."""

    async def greeting(http: HTTPRequest) -> HTTPResponse:
        return PlainTextResponse("Ollama is running")

    async def version(http: HTTPRequest) -> HTTPResponse:
        return json({"version": VERSION})

    async def tags(http: HTTPRequest) -> HTTPResponse:
        return json({"models": [_card(service, name) for name in service.names()]})

    async def loaded(http: HTTPRequest) -> HTTPResponse:
        return json({"models": []})  # no model is held in memory here

    async def show(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, ShowBody)
        return json(_description(service, body.model or body.name))

    return [
        route("/", greeting),
        route("/api/version", version),
        route("/api/tags", tags),
        route("/api/ps", loaded),
        route("/api/show", show, "POST", error_response),
        answer("/api/chat", service, OllamaChatBody, reply_to, error_response),
        answer("/api/generate", service, GenerateBody, reply_to, error_response),
    ]


def reply_to(service: Service, body: OllamaChatBody | GenerateBody) -> Reply | HTTPResponse:
    """Return the reply to a body, whole if it only loads a model. Raises `RequestError` or `ModelNotFound`.

    As with Ollama's own thinking models, thinking is sent unless it is declined.
    """
    shape = ReplyShape(body.model, isinstance(body, OllamaChatBody))
    request = body.request()
    if request is None:
        service.model(body.model)
        return json(shape.empty("unload" if body.unloads else "load"))
    run = resolve(
        service,
        body.model,
        request,
        effort=body.think if isinstance(body.think, str) else None,
        effort_of_models=False,
        overrides=body.moa,
        show="off" if body.think is False else shown(body.moa),
        stream=body.streams,
    )
    return OllamaReply(shape, run)


class ReplyShape:
    """The objects of a reply of /api/chat or /api/generate, which name the same things differently."""

    def __init__(self, name: str, chat: bool) -> None:
        self._name = name
        self._chat = chat

    def part(self, text: str = "", thinking: str = "", calls: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Return a part of the answer, or all of it."""
        thought = {"thinking": thinking} if thinking else {}
        if not self._chat:
            return {**self._head(), "response": text, **thought, "done": False}
        message: dict[str, Any] = {"role": "assistant", "content": text, **thought}
        if tool_calls := [_call(number, call) for number, call in enumerate(calls)]:
            message["tool_calls"] = tool_calls
        return {**self._head(), "message": message, "done": False}

    def empty(self, reason: str) -> dict[str, Any]:
        """Return the reply to a call without a question."""
        return {**self.part(), "done": True, "done_reason": reason}

    def end(self, active: ActiveRun) -> dict[str, Any]:
        """Return how the answer ended and what it took: tokens over all calls, times in nanoseconds."""
        response, trace = active.response, active.trace
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
            "moa": extension(active),
        }

    def _head(self) -> dict[str, Any]:
        return {"model": self._name, "created_at": _now()}


@dataclass(frozen=True)
class OllamaReply(Reply):
    """An answer, whole or as lines of JSON."""

    shape: ReplyShape
    run: RunRequest
    media_type = LINES

    @property
    def streams(self) -> bool:
        return self.run.stream

    @property
    def ping(self) -> bytes:
        return line(self.shape.part())

    def error_event(self, error: Exception) -> bytes:
        return line({"error": problem(error).message})

    async def whole(self, service: Service) -> HTTPResponse:
        async with service.run(self.run) as active:
            pieces = await active.proposals()
            response = active.response
            thinking = "".join(piece.text for piece in pieces) + response.reasoning
            thinking = thinking if self.run.show != "off" else ""
            part = self.shape.part(response.text, thinking, tool_calls(response))
            return json({**part, **self.shape.end(active)})

    async def chunks(self, service: Service) -> AsyncIterator[bytes]:
        has_text = False
        async with service.run(self.run) as active:
            async for pieces in active.batches():
                out = b""
                for is_text, group in groupby(pieces, key=lambda piece: piece.kind == "text"):
                    text = "".join(piece.text for piece in group)
                    if is_text:
                        has_text = True
                        out += line(self.shape.part(text))
                    elif self.run.show != "off":
                        out += line(self.shape.part(thinking=text))
                if out:
                    yield out
            response = active.response
            rest = line(self.shape.part(response.text)) if not has_text and response.text else b""
            rest += line(self.shape.part(calls=tool_calls(response))) if response.tool_calls else b""
            yield rest + line({**self.shape.part(), **self.shape.end(active)})


def _card(service: Service, name: str) -> dict[str, Any]:
    """Return a model of the list. A mixture has its bare name, as Ollama's names have one colon, before the tag."""
    full = f"{name.removeprefix('moa:')}:latest"
    return {
        "name": full,
        "model": full,
        "modified_at": _started(service),
        "size": 0,
        "digest": hashlib.sha256(full.encode()).hexdigest(),
        "details": _details(),
    }


def _description(service: Service, name: str) -> dict[str, Any]:
    if not name:
        raise InvalidParam("model", "missing; give the name of a model")
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
        "capabilities": ["completion", "tools", *(["vision"] if accepts_images(model) else []), "thinking"],
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
    function = {"index": number, "name": call["function"]["name"], "arguments": tool_arguments(call)}
    return {"id": call["id"], "function": function}


def _started(service: Service) -> str:
    return _stamp(datetime.fromtimestamp(service.started_at, UTC))


def _now() -> str:
    return _stamp(datetime.now(UTC))


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
