"""/api/runs/{id}/rerun: a run made again with a change, after its plan has said which calls that takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ...config.schema import Table
from ...errors import RequestError
from ...json_types import UsedJSON
from ...runs.rerun import Changes, Rerun, split
from ...trace.tree import Node, used
from ...types import Usage
from ..errors import route
from ..http import json, parse
from ..runs.repository import RunRepository, RunView
from ..schemas import Operation
from ..service import ModelNotFound, RunRequest, Service
from .mixtures import DRAFT


class RerunBody(Table):
    """What is to be different. Without any of it the aggregator alone is asked anew."""

    aggregator: str | None = Field(None, description="the model that is to write the answer")
    prompt: str | None = Field(None, description="another instruction to the aggregator, as prompt in moa.toml")
    without: str | None = Field(None, description="a proposer to be left out")
    layer: Annotated[int, Field(ge=1)] | None = Field(None, description="the layer whose proposers are asked anew")
    proposer: str | None = Field(None, description="the proposer that is asked anew, in that layer or in all")

    def rerun(self, service: Service, seen: RunView) -> Rerun:
        """Raises `RequestError`, or `ModelNotFound` or `Denied` for a model that the caller may not use."""
        run = seen.run
        if run.state == "running":
            raise RequestError(f"run {run.id} is going on; make it again when it is over")
        if run.question is None:
            raise RequestError(f"the words of run {run.id} were not kept, so it cannot be made again")
        if run.model.startswith(DRAFT):
            raise RequestError(f"run {run.id} tried a draft, which is not kept; try it again, or put it into moa.toml")
        try:
            service.model(run.model)
        except ModelNotFound as error:
            raise RequestError(f"run {run.id} cannot be made again: {error}") from None
        if self.aggregator is not None:
            service.model(self.aggregator)
        changes = Changes(self.aggregator, self.prompt, self.without, self.layer, self.proposer)
        return Rerun(service.builder, seen.trace, changes)


class StartedJSON(TypedDict):
    run_id: str


class PlannedCallJSON(TypedDict):
    role: str
    layer: int | None
    model: str
    usage: UsedJSON


class PlanJSON(TypedDict):
    """The plan of a rerun. `kept` calls are not made again."""

    of: str
    model: str
    changed: str
    kept: int
    calls: list[PlannedCallJSON]
    usage: UsedJSON


OPERATIONS = (
    Operation("post", "/api/runs/{id}/rerun", "Make a run again with a change", StartedJSON, RerunBody, status=201),
    Operation(
        "post",
        "/api/runs/{id}/rerun/plan",
        "Tell which calls making a run again takes, and about what they cost; nobody is asked",
        PlanJSON,
        RerunBody,
    ),
)


def routes(service: Service, sight: RunRepository) -> list[Route]:
    """POST /api/runs/{id}/rerun and .../rerun/plan."""

    async def start(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, RerunBody)
        seen = await sight.seen(http.path_params["id"])
        again = body.rerun(service, seen)
        model = await service.in_thread(again.model)
        record = await sight.running.start(RunRequest(model, again.request, stream=True))
        return json({"run_id": record.id}, 201, {"Location": f"/api/runs/{record.id}"})

    async def plan(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, RerunBody)
        seen = await sight.seen(http.path_params["id"])
        told = await service.in_thread(_plan, body.rerun(service, seen))
        return json(told)

    return [
        route("/api/runs/{id}/rerun", start, "POST"),
        route("/api/runs/{id}/rerun/plan", plan, "POST"),
    ]


def _plan(again: Rerun) -> PlanJSON:
    kept, made = split(again.plan())
    root = again.trace.root
    assert root
    return {
        "of": root.start.run,
        "model": root.start.model,
        "changed": str(again.changes),
        "kept": len(kept),
        "calls": [_call(call) for call in made],
        "usage": used(Usage.total(call.usage or Usage() for call in made)),
    }


def _call(call: Node) -> PlannedCallJSON:
    start = call.start
    return {"role": start.role, "layer": start.layer, "model": start.model, "usage": used(call.usage or Usage())}
