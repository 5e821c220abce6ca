"""The details of a run: the messages of each call, provenance, all events, a curl command, and a comparison of runs."""

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
from ...provenance.attribution import provenance_of_run
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
        "Return what each model of a run was sent, with each reference as a piece of its own",
        MessagesJSON,
    ),
    Operation(
        "get",
        "/api/runs/{id}/provenance",
        "Attribute each sentence of the answer to proposals",
        ProvenanceJSON,
    ),
    Operation(
        "get",
        "/api/runs/{id}/curl",
        "Return a run, or the call of one span, as a curl command without a key",
        query={"span": str},
    ),
    Operation("get", "/api/runs/{id}/export", "Return all events, one JSON object a line", text="application/jsonl"),
    Operation("get", "/api/runs/{id}/diff/{other}", "Compare two runs, their answers word by word", DifferenceJSON),
)


def routes(service: Service, repository: RunRepository) -> list[Route]:
    """GET /api/runs/{id}/messages, .../provenance, .../curl, .../export, .../diff/{other}."""

    def detail(path: str, work: Callable[[RunView], Any], reply: Callable[[Any], HTTPResponse] = json) -> Route:
        async def handle(http: HTTPRequest) -> HTTPResponse:
            return reply(await repository.work(http.path_params["id"], work))

        return route(f"/api/runs/{{id}}/{path}", handle)

    async def curl(http: HTTPRequest) -> HTTPResponse:
        span = http.query_params.get("span")
        line = await repository.work(
            http.path_params["id"], partial(_line, service, str(http.base_url), service.client is None, span)
        )
        return HTTPResponse(line, media_type="text/plain")

    async def diff(http: HTTPRequest) -> HTTPResponse:
        other = await repository.work(http.path_params["other"], lambda view: view)
        return json(await repository.work(http.path_params["id"], lambda one: _difference(one, other)))

    return [
        detail("messages", _messages),
        detail("provenance", lambda view: provenance_of_run(view.trace).as_json()),
        route("/api/runs/{id}/curl", curl),
        detail("export", _lines, lambda lines: HTTPResponse(lines, media_type="application/jsonl")),
        route("/api/runs/{id}/diff/{other}", diff),
    ]


def _messages(view: RunView) -> MessagesJSON:
    return {"calls": [_sent(call) for call in view.trace.calls]}


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
    """Return the options of a call that are set: temperature, tools and the like."""
    if call.start.request is None:
        return {}
    options = asdict(call.start.request)
    del options["messages"]
    return {key: value for key, value in options.items() if value not in (None, (), {})}


def _piece(reference: int | None, text: str) -> PieceJSON:
    return {"reference": reference, "text": text}


def _line(service: Service, base: str, owner: bool, span: str | None, view: RunView) -> str:
    """Return the curl command of a run or call. Only the owner of the server sees a provider's address."""
    if view.run.question is None:
        raise RequestError(f"run {view.run.id}: its texts were not stored, so it has no curl command")
    root = view.trace.root
    assert root
    call = next((node for node in root.walk() if node.start.span == span), None) if span else root
    if call is None:
        raise RunNotFound(f"run {view.run.id}: no span {span!r}")
    direct = to_provider(call, service.builder.config) if owner and call is not root else None
    return direct or to_server(call, base, service.keys.required)


def _lines(view: RunView) -> bytes:
    return b"".join(to_json(event) + b"\n" for event in view.events)


def _difference(one: RunView, other: RunView) -> DifferenceJSON:
    return {
        "runs": [listed(view.run) for view in (one, other)],
        "words": [{"change": change, "text": text} for change, text in compare_answers(one.trace, other.trace)],
        "calls": [
            {"role": call.role, "model": call.model, "counts": list(call.counts)}
            for call in compare_calls([one.trace, other.trace])
        ],
    }
