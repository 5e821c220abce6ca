"""/api/runs/{id}/rerun: reruns of a run with a change, and the plan of the calls that one needs."""

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
from ...trace.tree import Node, usage_json
from ...types import Usage
from ..errors import route
from ..http import json, parse
from ..runs.repository import RunRepository, RunView
from ..schemas import Operation
from ..service import ModelNotFound, RunRequest, Service
from .mixtures import DRAFT


class RerunBody(Table):
    """The changes of a rerun. Without any, only the aggregator is called again."""

    aggregator: str | None = Field(None, description="the model that writes the answer")
    prompt: str | None = Field(None, description="another instruction to the aggregator, like prompt in moa.toml")
    without: str | None = Field(None, description="a proposer to leave out")
    layer: Annotated[int, Field(ge=1)] | None = Field(None, description="the layer whose proposers are called again")
    proposer: str | None = Field(None, description="the proposer to call again, in that layer or in all")

    def rerun(self, service: Service, view: RunView) -> Rerun:
        """Return the rerun. Raises `RequestError`, `ModelNotFound` or `Denied`."""
        run = view.run
        if run.state == "running":
            raise RequestError(f"run {run.id}: still running; rerun it when it has finished")
        if run.question is None:
            raise RequestError(f"run {run.id}: its texts were not stored, so it cannot be rerun")
        if run.model.startswith(DRAFT):
            raise RequestError(
                f"run {run.id}: it tried a draft, which is not stored; try the draft again or add it to moa.toml"
            )
        try:
            service.model(run.model)
        except ModelNotFound as error:
            raise RequestError(f"run {run.id}: cannot be rerun: {error}") from None
        if self.aggregator is not None:
            service.model(self.aggregator)
        changes = Changes(self.aggregator, self.prompt, self.without, self.layer, self.proposer)
        return Rerun(service.builder, view.trace, changes)


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
    Operation("post", "/api/runs/{id}/rerun", "Rerun a run with a change", StartedJSON, RerunBody, status=201),
    Operation(
        "post",
        "/api/runs/{id}/rerun/plan",
        "Return the calls that a rerun needs, and their likely usage; no model is called",
        PlanJSON,
        RerunBody,
    ),
)


def routes(service: Service, repository: RunRepository) -> list[Route]:
    """POST /api/runs/{id}/rerun and .../rerun/plan."""

    async def start(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, RerunBody)
        view = await repository.view(http.path_params["id"])
        rerun = body.rerun(service, view)
        model = await service.in_thread(rerun.model)
        live = await repository.live.start(RunRequest(model, rerun.request, stream=True))
        return json({"run_id": live.id}, 201, {"Location": f"/api/runs/{live.id}"})

    async def plan(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, RerunBody)
        view = await repository.view(http.path_params["id"])
        return json(await service.in_thread(_plan, body.rerun(service, view)))

    return [
        route("/api/runs/{id}/rerun", start, "POST"),
        route("/api/runs/{id}/rerun/plan", plan, "POST"),
    ]


def _plan(rerun: Rerun) -> PlanJSON:
    kept, made = split(rerun.plan())
    root = rerun.trace.root
    assert root
    return {
        "of": root.start.run,
        "model": root.start.model,
        "changed": str(rerun.changes),
        "kept": len(kept),
        "calls": [_call(call) for call in made],
        "usage": usage_json(Usage.total(call.usage or Usage() for call in made)),
    }


def _call(call: Node) -> PlannedCallJSON:
    start = call.start
    return {"role": start.role, "layer": start.layer, "model": start.model, "usage": usage_json(call.usage or Usage())}
