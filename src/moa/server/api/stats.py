"""/api/stats: what mixtures and models took and lost in the caller's runs, in all and by day."""

from __future__ import annotations

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ...json_types import FiguresJSON
from ...store.rows import moment
from ..errors import route
from ..http import json
from ..runs.stored_runs import StoredRuns, full_name
from ..schemas import Operation
from ..service import Service

ATTRIBUTED = 10
"""Answers that each request attributes to their proposals, if that has not been done yet."""


class StatsJSON(TypedDict):
    whole: list[FiguresJSON]
    days: list[FiguresJSON]


OPERATIONS = (
    Operation(
        "get",
        "/api/stats",
        "Return what mixtures and models took, cost and lost, in all and by day",
        StatsJSON,
        query={"since": str, "mixture": str},
    ),
)


def routes(service: Service) -> list[Route]:
    """GET /api/stats."""
    stored = StoredRuns(service)

    async def stats(http: HTTPRequest) -> HTTPResponse:
        since, mixture = (http.query_params.get(name) or None for name in ("since", "mixture"))
        start = moment(since) if since else None
        conditions = {"since": start, "mixture": full_name(mixture) if mixture else None}
        await stored.trace(ATTRIBUTED)
        whole, days = [await stored.figures(**conditions, by_day=by_day) for by_day in (False, True)]
        return json({"whole": [one.as_json() for one in whole], "days": [one.as_json() for one in days]})

    return [route("/api/stats", stats)]
