"""OpenAI's list of models."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ...errors import route
from ...http import json
from ...schemas import Operation
from ...service import Service


class ModelJSON(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelListJSON(TypedDict):
    object: Literal["list"]
    data: list[ModelJSON]


OPERATIONS = (
    Operation("get", "/v1/models", "List the models (OpenAI)", ModelListJSON),
    Operation("get", "/v1/models/{id}", "Show a model (OpenAI)", ModelJSON),
)


def routes(service: Service) -> list[Route]:
    """GET /v1/models, GET /v1/models/{id}."""

    async def models(http: HTTPRequest) -> HTTPResponse:
        return json({"object": "list", "data": [_card(service, name) for name in service.names()]})

    async def model(http: HTTPRequest) -> HTTPResponse:
        name = http.path_params["id"]
        service.model(name)
        return json(_card(service, name))

    return [route("/v1/models", models), route("/v1/models/{id:path}", model)]


def _card(service: Service, name: str) -> ModelJSON:
    return {"id": name, "object": "model", "created": service.started_at, "owned_by": "moa"}
