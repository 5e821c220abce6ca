"""/api/stats: what mixtures and models gave, took and lost in the caller's runs, day by day."""

from __future__ import annotations

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ...store.rows import moment
from ..errors import route
from ..http import json
from ..runs.stored_runs import StoredRuns, full_name
from ..schemas import NUMBER, TEXT, WHOLE, Operation, one_of, or_null, rows, table, titled
from ..service import Service

TRACED = 10
"""Answers whose words are traced each time that somebody looks."""

SPREAD = titled("Spread", table(dict.fromkeys(("p50", "p90", "p95", "p99"), NUMBER)))
FIGURES = titled(
    "Figures",
    table(
        {
            "mixture": TEXT,
            "role": one_of("root", "proposer", "aggregator", "judge"),
            "model": TEXT,
            "day": TEXT,
            **dict.fromkeys(("calls", "lost", "cached", "retries", "input_tokens", "output_tokens"), WHOLE),
            "cost": or_null(NUMBER),
            "seconds": or_null(SPREAD),
            "first_word": or_null(SPREAD),
            "share": or_null(NUMBER),
            "traced": WHOLE,
        },
        ("day",),
    ),
)

OPERATIONS = (
    Operation(
        "get",
        "/api/stats",
        "Tell what mixtures and models took, cost and lost, in all and day by day",
        titled("Stats", table({"whole": rows(FIGURES), "days": rows(FIGURES)})),
        query={"since": TEXT, "mixture": TEXT},
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
