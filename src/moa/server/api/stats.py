"""/api/stats: what mixtures and models gave, took and lost in the caller's runs, day by day."""

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

TRACED = 10
"""Answers whose words are traced each time that somebody looks."""


class StatsJSON(TypedDict):
    whole: list[FiguresJSON]
    days: list[FiguresJSON]


OPERATIONS = (
    Operation(
        "get",
        "/api/stats",
        "Tell what mixtures and models took, cost and lost, in all and day by day",
        StatsJSON,
        query={"since": str, "mixture": str},
    ),
)


def routes(service: Service) -> list[Route]:
    """GET /api/stats."""
    past = StoredRuns(service)

    async def stats(http: HTTPRequest) -> HTTPResponse:
        since, mixture = (http.query_params.get(name) or None for name in ("since", "mixture"))
        after = moment(since) if since else None
        conditions = {"since": after, "mixture": full_name(mixture) if mixture else None}
        await past.trace(TRACED)
        whole, days = [await past.figures(**conditions, by_day=by_day) for by_day in (False, True)]
        return json({"whole": [one.as_json() for one in whole], "days": [one.as_json() for one in days]})

    return [route("/api/stats", stats)]
