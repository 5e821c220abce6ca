"""The ASGI application: the routes of all protocols over one service, limited the middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Mount, Router
from starlette.types import ASGIApp

from . import openapi, static
from .api import mixtures, runs, stats
from .errors import ErrorMiddleware
from .middleware.access import AuthMiddleware, BodyLimitMiddleware, HostAndOriginMiddleware
from .middleware.request_log import RequestLog, log_request
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
    """Return the ASGI application of a service. `telemetry` receives every run, as a part of its client's trace."""
    metrics = prometheus.Metrics(service)
    service.watchers.append(metrics.watch)
    if telemetry:
        service.watchers.append(lambda run: telemetry)
    operations = [one for module in (*PROTOCOLS, health, prometheus) for one in module.OPERATIONS]
    probes = health.routes(service)
    routes = [
        *(route for protocol in PROTOCOLS for route in protocol.routes(service)),
        *probes,
        *prometheus.routes(metrics),
        *openapi.routes(operations),
    ]
    limited = BodyLimitMiddleware(Router(routes, redirect_slashes=False), lambda: service.table)
    authenticated = Mount("", AuthMiddleware(limited, lambda: service.keys))
    public = Router([*probes, *static.routes(), authenticated], redirect_slashes=False)
    app: ASGIApp = HostAndOriginMiddleware(ErrorMiddleware(public), lambda: service.table)
    if telemetry:
        app = TraceContextMiddleware(app, telemetry)
    return RequestLog(app, (log_request, metrics.count))
