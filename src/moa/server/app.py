"""The application: every protocol's routes over one service, behind the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Mount, Router
from starlette.types import ASGIApp

from . import openapi
from . import static as page
from .api import mixtures, runs, stats
from .errors import ErrorMiddleware
from .middleware.access import AuthMiddleware, BodyLimitMiddleware, HostAndOriginMiddleware
from .middleware.request_log import RequestLog, logged
from .middleware.trace_context import TraceContextMiddleware
from .ops import health, prometheus
from .protocols.anthropic import messages as anthropic
from .protocols.ollama import routes as ollama
from .protocols.openai import chat, completions, models, responses
from .service import Service

if TYPE_CHECKING:
    from ..telemetry import Telemetry

PROTOCOLS = (
    chat,
    completions,
    models,
    responses,
    anthropic,
    ollama,
    runs,
    mixtures,
    stats,
)


def create_app(service: Service, telemetry: Telemetry | None = None) -> ASGIApp:
    """The ASGI application of a service. `telemetry` is told every run, as a part of the trace of its client."""
    counted = prometheus.Metrics(service)
    service.watchers.append(counted.watch)
    if telemetry:
        service.watchers.append(lambda asked: telemetry)
    operations = [one for module in (*PROTOCOLS, health, prometheus) for one in module.OPERATIONS]
    described = [*prometheus.routes(counted), *openapi.routes(operations)]
    alive = health.routes(service)
    routes = [*(route for protocol in PROTOCOLS for route in protocol.routes(service)), *alive, *described]
    behind = BodyLimitMiddleware(Router(routes, redirect_slashes=False), lambda: service.table)
    keyed = Mount("", AuthMiddleware(behind, lambda: service.keys))
    open_to_all = Router([*alive, *page.routes(), keyed], redirect_slashes=False)
    gated: ASGIApp = HostAndOriginMiddleware(ErrorMiddleware(open_to_all), lambda: service.table)
    if telemetry:
        gated = TraceContextMiddleware(gated, telemetry)
    return RequestLog(gated, (logged, counted.visited))
