"""/api/runs: start, list, watch, finish, stop and delete runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, cast, get_args

from pydantic import Field, ValidationError
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ...config.messages import did_you_mean
from ...config.schema import Table
from ...events import to_json
from ...json_types import EstimateJSON, ListedRunJSON
from ...store.reader import State, StoredRun
from ...store.rows import listed, moment
from ..errors import error_response, route
from ..http import InvalidParam, StreamingReply, json, parse
from ..protocols.openai.chat_body import ChatBody, ChatMessage
from ..protocols.resolve import Overrides, resolve
from ..runs.live_runs import LiveRun
from ..runs.repository import RunJSON, RunRepository, RunView
from ..runs.stored_runs import StoredRunReader, full_name
from ..schemas import Operation
from ..service import RunRequest, Service
from . import details, estimates, reruns
from .mixtures import DraftBody

MAX_LIMIT = 500
"""The most runs in one reply."""


class RunBody(Table):
    """A run to start: a prompt or messages, the options of a chat completion, and overrides of the mixture."""

    model: str | None = Field(None, description="by default the configured default")
    draft: DraftBody | None = Field(None, description="a mixture to try that is not in moa.toml")
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    options: dict[str, Any] = Field({}, description="temperature, max_tokens, seed ... like in a chat completion")
    moa: Overrides | None = None
    estimate: bool = Field(False, description="let the run note its estimate, and how accurate it was")

    def resolve(self, service: Service) -> RunRequest:
        """Return the run. Raises `RequestError` or `ModelNotFound`."""
        if (self.prompt is None) == (self.messages is None):
            raise InvalidParam("prompt", "give either prompt or messages")
        if self.model is not None and self.draft is not None:
            raise InvalidParam("model", "give either model or draft")
        if wrong := {"model", "messages", "stream", "moa"} & self.options.keys():
            raise InvalidParam(f"options.{min(wrong)}", "not an option; it is a field of its own")
        if self.moa and (useless := {"show_proposals", "provenance"} & self.moa.model_fields_set):
            instead = "/api/runs/ID/events for proposals, /api/runs/ID/provenance for provenance"
            raise InvalidParam(f"moa.{min(useless)}", f"has no effect here; read {instead}")
        model = self.model or service.builder.config.default
        messages = self.messages or [ChatMessage(role="user", content=self.prompt or "")]
        try:
            chat = ChatBody.model_validate({**self.options, "model": model, "messages": messages})
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidParam(f"options.{'.'.join(map(str, first['loc']))}", first["msg"]) from None
        run = resolve(
            service,
            self.draft.mixture(service) if self.draft else model,
            chat.request(),
            effort=chat.reasoning_effort,
            overrides=self.moa,
            show="fields",
            stream=True,
        )
        if unused := [*chat.unused, *run.unused]:
            raise InvalidParam(f"options.{unused[0]}", f"has no effect on {run.model.name}; remove it")
        return run


class RunListJSON(TypedDict):
    runs: list[ListedRunJSON]
    before: str | None


OPERATIONS = (
    Operation("post", "/api/runs", "Start a run", reruns.StartedJSON, RunBody, status=201),
    Operation("post", "/api/estimate", "Estimate a run; no model is called", EstimateJSON, RunBody),
    Operation(
        "get",
        "/api/runs",
        "List runs, the latest first; pass before on for the next page, null on the last one",
        RunListJSON,
        query={
            "model": str,
            "state": State,
            "since": str,
            "search": str,
            "before": str,
            "limit": Annotated[int, Field(ge=1, le=MAX_LIMIT)],
        },
    ),
    Operation("get", "/api/runs/{id}", "Return the state of a run, and its result", RunJSON),
    Operation(
        "delete",
        "/api/runs/{id}",
        "Stop a run, and delete it if forget is true",
        RunJSON,
        query={"forget": bool},
    ),
    Operation("post", "/api/runs/{id}/finish", "Answer with the proposals that have arrived", RunJSON, status=202),
    Operation(
        "get",
        "/api/runs/{id}/events",
        "Watch a run, from its start or after an event",
        text="text/event-stream",
        query={"after": str},
    ),
    *details.OPERATIONS,
    *reruns.OPERATIONS,
)


def routes(service: Service) -> list[Route]:
    """/api/runs and all below it."""
    repository = RunRepository(service)
    live, stored = repository.live, repository.stored

    async def start(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, RunBody)
        run = body.resolve(service)
        started = await live.start(await estimates.with_estimate(run, stored) if body.estimate else run)
        return json({"run_id": started.id}, 201, {"Location": f"/api/runs/{started.id}"})

    async def estimate(http: HTTPRequest) -> HTTPResponse:
        run = (await parse(http, RunBody)).resolve(service)
        return json((await estimates.estimate(run, stored)).as_json())

    async def listing(http: HTTPRequest) -> HTTPResponse:
        query = Listing.of(http.query_params)
        matches = await stored.runs(**query.conditions) if stored.enabled else query.among(live.all())
        runs = [listed(run) for run in matches[: query.limit]]
        return json({"runs": runs, "before": runs[-1]["id"] if len(matches) > query.limit else None})

    async def one(http: HTTPRequest) -> HTTPResponse:
        return json(await repository.work(http.path_params["id"], RunView.as_json))

    async def stop(http: HTTPRequest) -> HTTPResponse:
        run, forget = http.path_params["id"], _parse_forget(http.query_params.get("forget", "false"))
        if running := live.find(run):
            await live.stop(running)
        view = await repository.view(run)
        if forget:
            await repository.delete(view)
        return json(view.as_json())

    async def finish(http: HTTPRequest) -> HTTPResponse:
        run = http.path_params["id"]
        if running := live.find(run):
            live.finish(running)
        return json((await repository.view(run)).as_json(), 202)

    async def events(http: HTTPRequest) -> HTTPResponse:
        after = _parse_event_id(http.headers.get("last-event-id") or http.query_params.get("after") or "0")
        run = await repository.find(http.path_params["id"])
        return StreamingReply(_sse(run, after), error_response, interval=service.table.sse_ping_interval)

    return [
        route("/api/runs", start, "POST"),
        route("/api/estimate", estimate, "POST"),
        route("/api/runs", listing),
        route("/api/runs/{id}", one),
        route("/api/runs/{id}", stop, "DELETE"),
        route("/api/runs/{id}/finish", finish, "POST"),
        route("/api/runs/{id}/events", events),
        *details.routes(service, repository),
        *reruns.routes(service, repository),
    ]


@dataclass(frozen=True)
class Listing:
    """The query of a list of runs. One more than `limit` is read, to know whether there is a next page."""

    model: str | None
    state: State | None
    since: float | None
    search: str | None
    before: str | None
    limit: int

    @staticmethod
    def of(query: Mapping[str, str]) -> Listing:
        """Return the listing of query parameters. Raises `InvalidParam`."""
        values = {name: query.get(name) or None for name in ("model", "state", "since", "search", "before", "limit")}
        for name in query:
            if name not in values:
                raise InvalidParam(name, f"unknown parameter{did_you_mean(name, values)}")
        state, limit = values["state"], values["limit"] or "50"
        if state is not None and state not in get_args(State):
            raise InvalidParam("state", f"must be one of {', '.join(get_args(State))}, got {state!r}")
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 5 and 1 <= int(limit) <= MAX_LIMIT):
            raise InvalidParam("limit", f"must be an integer from 1 to {MAX_LIMIT}, got {limit!r}")
        model, since = values["model"], values["since"]
        return Listing(
            full_name(model) if model else None,
            cast("State | None", state),
            moment(since) if since else None,
            values["search"],
            values["before"],
            int(limit),
        )

    @property
    def conditions(self) -> dict[str, Any]:
        """The conditions of `Store.runs`."""
        return {**asdict(self), "limit": self.limit + 1}

    def among(self, runs: Sequence[LiveRun]) -> list[StoredRun]:
        """Return the matching ones of the runs in memory."""
        words = (self.search or "").lower().split()
        rows = [(live.row(), live.trace.root.text if live.trace.root else "") for live in runs]
        matches = [
            run
            for run, answer in rows
            if self.model in (None, run.model)
            and self.state in (None, run.state)
            and (self.since is None or run.started >= self.since)
            and (self.before is None or run.id < self.before)
            and all(word in f"{run.question} {answer}".lower() for word in words)
        ]
        return matches[: self.limit + 1]


def _parse_forget(value: str) -> bool:
    if value not in ("true", "false"):
        raise InvalidParam("forget", f"must be true or false, got {value!r}")
    return value == "true"


def _parse_event_id(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 16):
        raise InvalidParam("Last-Event-ID", f"must be the id of an event, got {value[:100]!r}")
    return int(value)


async def _sse(run: LiveRun | StoredRunReader, after: int) -> AsyncIterator[bytes]:
    async for batch in run.read(after):
        yield b"".join(b"id: %d\nevent: %b\ndata: %b\n\n" % (n, e.type.encode(), to_json(e)) for n, e in batch)
    yield b'event: end\ndata: {"state":"%b"}\n\n' % run.state.encode()
