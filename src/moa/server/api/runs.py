"""/api/runs: a run is started, watched by any number, finished early or stopped by others, and looked at afterwards."""

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
from ...errors import RequestError
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

MOST = 500
"""Runs in one answer at most."""


class RunBody(Table):
    """What to ask: a prompt or messages, the options of a chat completion, and what to change of the mixture."""

    model: str | None = Field(None, description="the configured default if it is not said")
    draft: DraftBody | None = Field(None, description="a mixture to be tried that is not in moa.toml")
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    options: dict[str, Any] = Field({}, description="temperature, max_tokens, seed ... as in a chat completion")
    moa: Overrides | None = None
    estimate: bool = Field(False, description="let the run say what it was likely to take, and how right that was")

    def resolve(self, service: Service) -> RunRequest:
        """Raises `RequestError` or `ModelNotFound`."""
        if (self.prompt is None) == (self.messages is None):
            raise RequestError("give prompt or messages, one of the two")
        if self.model is not None and self.draft is not None:
            raise RequestError("give model or draft, one of the two")
        if wrong := {"model", "messages", "stream", "moa"} & self.options.keys():
            raise RequestError(f"options.{min(wrong)} is no option; it has a place of its own")
        if self.moa and (told := {"show_proposals", "provenance"} & self.moa.model_fields_set):
            raise RequestError(
                f"moa.{min(told)} has no effect here: the run's events tell its proposals, and /api/runs/ID/provenance "
                "what came from them; leave it out"
            )
        model = self.model or service.builder.config.default
        messages = self.messages or [ChatMessage(role="user", content=self.prompt or "")]
        try:
            chat = ChatBody.model_validate({**self.options, "model": model, "messages": messages})
        except ValidationError as error:
            first = error.errors()[0]
            raise RequestError(f"options.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
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
    Operation("post", "/api/estimate", "Tell what a run is likely to take; nobody is asked", EstimateJSON, RunBody),
    Operation(
        "get",
        "/api/runs",
        "List runs, the latest first; before is what to ask for further ones, null where there are none",
        RunListJSON,
        query={
            "model": str,
            "state": State,
            "since": str,
            "search": str,
            "before": str,
            "limit": Annotated[int, Field(ge=1, le=MOST)],
        },
    ),
    Operation("get", "/api/runs/{id}", "Say how a run stands, and what came of it", RunJSON),
    Operation(
        "delete",
        "/api/runs/{id}",
        "Stop a run, and remove it for good where forget is true",
        RunJSON,
        query={"forget": bool},
    ),
    Operation("post", "/api/runs/{id}/finish", "Answer with the proposals that are there", RunJSON, status=202),
    Operation(
        "get",
        "/api/runs/{id}/events",
        "Watch a run, from its start or from where the reader was",
        text="text/event-stream",
        query={"after": str},
    ),
    *details.OPERATIONS,
    *reruns.OPERATIONS,
)


def routes(service: Service) -> list[Route]:
    """/api/runs and all below it."""
    sight = RunRepository(service)
    running, past = sight.running, sight.past

    async def start(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, RunBody)
        asked = body.resolve(service)
        record = await running.start(await estimates.with_estimate(asked, past) if body.estimate else asked)
        return json({"run_id": record.id}, 201, {"Location": f"/api/runs/{record.id}"})

    async def estimate(http: HTTPRequest) -> HTTPResponse:
        told = await estimates.of((await parse(http, RunBody)).resolve(service), past)
        return json(told.as_json())

    async def listing(http: HTTPRequest) -> HTTPResponse:
        asked = Listing.of(http.query_params)
        found = await past.runs(**asked.conditions) if past.kept else asked.among(running.all())
        more = len(found) > asked.limit
        told = [listed(run) for run in found[: asked.limit]]
        return json({"runs": told, "before": told[-1]["id"] if more else None})

    async def one(http: HTTPRequest) -> HTTPResponse:
        told = await sight.work(http.path_params["id"], RunView.as_json)
        return json(told)

    async def stop(http: HTTPRequest) -> HTTPResponse:
        run, forget = http.path_params["id"], _truth(http.query_params.get("forget", "false"))
        if record := running.find(run):
            await running.stop(record)
        seen = await sight.seen(run)
        if forget:
            await sight.forget(seen)
        return json(seen.as_json())

    async def finish(http: HTTPRequest) -> HTTPResponse:
        run = http.path_params["id"]
        if record := running.find(run):
            running.finish(record)
        told = (await sight.seen(run)).as_json()
        return json(told, 202)

    async def events(http: HTTPRequest) -> HTTPResponse:
        after = _after(http.headers.get("last-event-id") or http.query_params.get("after") or "0")
        found = await sight.find(http.path_params["id"])
        return StreamingReply(_sse(found, after), error_response, interval=service.table.sse_ping_interval)

    return [
        route("/api/runs", start, "POST"),
        route("/api/estimate", estimate, "POST"),
        route("/api/runs", listing),
        route("/api/runs/{id}", one),
        route("/api/runs/{id}", stop, "DELETE"),
        route("/api/runs/{id}/finish", finish, "POST"),
        route("/api/runs/{id}/events", events),
        *details.routes(service, sight),
        *reruns.routes(service, sight),
    ]


@dataclass(frozen=True)
class Listing:
    """Which runs are to be listed; `limit` of them, and one more is looked for."""

    model: str | None
    state: State | None
    since: float | None
    search: str | None
    before: str | None
    limit: int

    @staticmethod
    def of(query: Mapping[str, str]) -> Listing:
        """Raises `RequestError`."""
        asked = {name: query.get(name) or None for name in ("model", "state", "since", "search", "before", "limit")}
        for name in query:
            if name not in asked:
                raise RequestError(f"unknown parameter {name!r}{did_you_mean(name, asked)}")
        state, limit = asked["state"], asked["limit"] or "50"
        if state is not None and state not in get_args(State):
            raise RequestError(f"state is one of {', '.join(get_args(State))}, not {state!r}")
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 5 and 1 <= int(limit) <= MOST):
            raise RequestError(f"limit is a whole number from 1 to {MOST}, not {limit!r}")
        model, since = asked["model"], asked["since"]
        return Listing(
            full_name(model) if model else None,
            cast("State | None", state),
            moment(since) if since else None,
            asked["search"],
            asked["before"],
            int(limit),
        )

    @property
    def conditions(self) -> dict[str, Any]:
        """As `Store.runs` takes them."""
        return {**asdict(self), "limit": self.limit + 1}

    def among(self, records: Sequence[LiveRun]) -> list[StoredRun]:
        """Those of the runs that are known here."""
        words = (self.search or "").lower().split()
        said = [(record.row(), record.trace.root.text if record.trace.root else "") for record in records]
        found = [
            run
            for run, answer in said
            if self.model in (None, run.model)
            and self.state in (None, run.state)
            and (self.since is None or run.started >= self.since)
            and (self.before is None or run.id < self.before)
            and all(word in f"{run.question} {answer}".lower() for word in words)
        ]
        return found[: self.limit + 1]


def _truth(told: str) -> bool:
    if told not in ("true", "false"):
        raise RequestError(f"forget is true or false, not {told!r}")
    return told == "true"


def _after(told: str) -> int:
    if not (told.isascii() and told.isdecimal() and len(told) < 16):
        raise RequestError("Last-Event-ID is the number of an event, as its id said")
    return int(told)


async def _sse(run: LiveRun | StoredRunReader, after: int) -> AsyncIterator[bytes]:
    async for batch in run.read(after):
        yield b"".join(b"id: %d\nevent: %b\ndata: %b\n\n" % (n, e.type.encode(), to_json(e)) for n, e in batch)
    yield b'event: end\ndata: {"state":"%b"}\n\n' % run.state.encode()
