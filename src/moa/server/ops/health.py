"""Probes: whether the server is alive, and whether it accepts requests. They need no key."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ..http import json
from ..schemas import Operation
from ..service import Service


class AliveJSON(TypedDict):
    status: Literal["ok"]


class ReadyJSON(TypedDict):
    status: Literal["ready"]


class DrainingJSON(TypedDict):
    status: Literal["draining"]


OPERATIONS = (
    Operation("get", "/healthz", "Return whether the server is alive", AliveJSON),
    Operation(
        "get",
        "/readyz",
        "Return whether requests are accepted",
        ReadyJSON,
        others={503: DrainingJSON},
    ),
)


def routes(service: Service) -> list[Route]:
    """GET /healthz, GET /readyz. Neither calls a model."""

    async def alive(http: HTTPRequest) -> HTTPResponse:
        return json({"status": "ok"})

    async def ready(http: HTTPRequest) -> HTTPResponse:
        if service.draining:
            return json({"status": "draining"}, 503, {"Retry-After": "5"})
        return json({"status": "ready"})

    return [Route("/healthz", alive, methods=["GET"]), Route("/readyz", ready, methods=["GET"])]
