"""Whether the server is alive, and whether it takes requests: for who watches over it, so without a key."""

from __future__ import annotations

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ..http import json
from ..schemas import Operation, one_of, table
from ..service import Service

OPERATIONS = (
    Operation("get", "/healthz", "Say that the server is alive", table({"status": one_of("ok")})),
    Operation(
        "get",
        "/readyz",
        "Say whether requests are taken",
        table({"status": one_of("ready")}),
        others={503: table({"status": one_of("draining")})},
    ),
)


def routes(service: Service) -> list[Route]:
    """GET /healthz, GET /readyz. Neither asks a model or loads one."""

    async def alive(http: HTTPRequest) -> HTTPResponse:
        return json({"status": "ok"})

    async def ready(http: HTTPRequest) -> HTTPResponse:
        if service.draining:
            return json({"status": "draining"}, 503, {"Retry-After": "5"})
        return json({"status": "ready"})

    return [Route("/healthz", alive, methods=["GET"]), Route("/readyz", ready, methods=["GET"])]
