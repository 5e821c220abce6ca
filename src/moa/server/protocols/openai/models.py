"""OpenAI's list of models."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ...errors import route
from ...http import json
from ...schemas import TEXT, WHOLE, Operation, one_of, rows, table
from ...service import Service

CARD = table({"id": TEXT, "object": one_of("model"), "created": WHOLE, "owned_by": TEXT})

OPERATIONS = (
    Operation("get", "/v1/models", "List the models (OpenAI)", table({"object": one_of("list"), "data": rows(CARD)})),
    Operation("get", "/v1/models/{id}", "Show a model (OpenAI)", CARD),
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


def _card(service: Service, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": service.started_at, "owned_by": "moa"}
