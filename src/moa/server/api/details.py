"""What can be looked at in one run: what each model was sent, where the answer's words come from, and all its events.

Two runs can be compared, and a call can be taken away as a line for the shell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ...errors import RequestError
from ...events import to_json
from ...json_types import ListedRunJSON, ProvenanceJSON
from ...prompts.escaping import split_references
from ...provenance.attribution import of_run
from ...runs.compare import compare_answers, compare_calls
from ...store.rows import listed
from ...trace.tree import Node
from ...trace.views import message_text, messages_sent
from ..errors import route
from ..http import json
from ..runs.repository import RunRepository, RunView
from ..schemas import Operation
from ..service import RunNotFound, Service
from .curl import to_provider, to_server


class PieceJSON(TypedDict):
    """A part of a message; of a reference, with its number."""

    reference: int | None
    text: str


class SentMessageJSON(TypedDict):
    role: str
    pieces: list[PieceJSON]


class SentJSON(TypedDict):
    """What a call was sent, and its answer."""

    span: str
    role: str
    model: str
    layer: int | None
    index: int | None
    messages: list[SentMessageJSON]
    options: dict[str, Any]
    answer: str
    error: str | None


class MessagesJSON(TypedDict):
    calls: list[SentJSON]


class WordsJSON(TypedDict):
    change: Literal["same", "gone", "new"]
    text: str


class CallCountsJSON(TypedDict):
    role: str
    model: str
    counts: list[int]


class DifferenceJSON(TypedDict):
    """Two runs compared."""

    runs: list[ListedRunJSON]
    words: list[WordsJSON]
    calls: list[CallCountsJSON]


OPERATIONS = (
    Operation(
        "get",
        "/api/runs/{id}/messages",
        "Tell what each model of a run was sent; references stand in pieces of their own",
        MessagesJSON,
    ),
    Operation("get", "/api/runs/{id}/provenance", "Trace each sentence of the answer to proposals", ProvenanceJSON),
    Operation(
        "get",
        "/api/runs/{id}/curl",
        "Write a run, or the call of one span, as a line for the shell, without a key",
        query={"span": str},
    ),
    Operation("get", "/api/runs/{id}/export", "Give all events, one JSON a line", text="application/jsonl"),
    Operation("get", "/api/runs/{id}/diff/{other}", "Compare two runs, their answers word by word", DifferenceJSON),
)


def routes(service: Service, sight: RunRepository) -> list[Route]:
    """GET /api/runs/{id}/messages, .../provenance, .../curl, .../export, .../diff/{other}."""

    def looked(path: str, work: Callable[[RunView], Any], reply: Callable[[Any], HTTPResponse] = json) -> Route:
        async def look(http: HTTPRequest) -> HTTPResponse:
            told = await sight.work(http.path_params["id"], work)
            return reply(told)

        return route(f"/api/runs/{{id}}/{path}", look)

    async def curl(http: HTTPRequest) -> HTTPResponse:
        span = http.query_params.get("span")
        line = await sight.work(
            http.path_params["id"], partial(_line, service, str(http.base_url), service.client is None, span)
        )
        return HTTPResponse(line, media_type="text/plain")

    async def diff(http: HTTPRequest) -> HTTPResponse:
        other = await sight.work(http.path_params["other"], lambda seen: seen)
        told = await sight.work(http.path_params["id"], lambda one: _difference(one, other))
        return json(told)

    return [
        looked("messages", _messages),
        looked("provenance", lambda seen: of_run(seen.trace).as_json()),
        route("/api/runs/{id}/curl", curl),
        looked("export", _lines, lambda lines: HTTPResponse(lines, media_type="application/jsonl")),
        route("/api/runs/{id}/diff/{other}", diff),
    ]


def _messages(seen: RunView) -> MessagesJSON:
    return {"calls": [_sent(call) for call in seen.trace.calls]}


def _sent(call: Node) -> SentJSON:
    start = call.start
    return {
        "span": start.span,
        "role": start.role,
        "model": start.model,
        "layer": start.layer,
        "index": start.index,
        "messages": [
            {"role": message["role"], "pieces": [_piece(*one) for one in split_references(message_text(message))]}
            for message in messages_sent(call)
        ],
        "options": _options(call),
        "answer": call.text,
        "error": call.error,
    }


def _options(call: Node) -> dict[str, Any]:
    """The options of a call that say something: temperature, tools and the like."""
    if call.start.request is None:
        return {}
    told = asdict(call.start.request)
    del told["messages"]
    return {key: value for key, value in told.items() if value not in (None, (), {})}


def _piece(reference: int | None, text: str) -> PieceJSON:
    return {"reference": reference, "text": text}


def _line(service: Service, base: str, owner: bool, span: str | None, seen: RunView) -> str:
    """The owner of the server gets what goes to a provider; its clients are not told where that is."""
    if seen.run.question is None:
        raise RequestError(f"the words of run {seen.run.id} were not kept, so it cannot be asked again")
    root = seen.trace.root
    assert root
    call = next((node for node in root.walk() if node.start.span == span), None) if span else root
    if call is None:
        raise RunNotFound(f"run {seen.run.id} has no span {span!r}")
    direct = to_provider(call, service.builder.config) if owner and call is not root else None
    return direct or to_server(call, base, service.keys.required)


def _lines(seen: RunView) -> bytes:
    return b"".join(to_json(event) + b"\n" for event in seen.events)


def _difference(one: RunView, other: RunView) -> DifferenceJSON:
    return {
        "runs": [listed(seen.run) for seen in (one, other)],
        "words": [{"change": change, "text": text} for change, text in compare_answers(one.trace, other.trace)],
        "calls": [
            {"role": call.role, "model": call.model, "counts": list(call.counts)}
            for call in compare_calls([one.trace, other.trace])
        ],
    }
