"""The application: every protocol's routes over one service, behind the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Mount, Router
from starlette.types import ASGIApp

from . import (
    anthropic,
    chat,
    completions,
    health,
    metrics,
    mixtures,
    models,
    numbers,
    ollama,
    openapi,
    page,
    responses,
    runs,
)
from .gate import Bounded, Gate, Keyed
from .refusals import Refusing
from .service import Service
from .traces import Joined
from .visits import Visits, logged

if TYPE_CHECKING:
    from ..otel import Telemetry

PROTOCOLS = (
    chat,
    completions,
    models,
    responses,
    anthropic,
    ollama,
    runs,
    mixtures,
    numbers,
)


def create_app(service: Service, telemetry: Telemetry | None = None) -> ASGIApp:
    """The ASGI application of a service. `telemetry` is told every run, as a part of the trace of its client."""
    counted = metrics.Metrics(service)
    service.watchers.append(counted.watch)
    if telemetry:
        service.watchers.append(lambda asked: telemetry)
    operations = [one for module in (*PROTOCOLS, health, metrics) for one in module.OPERATIONS]
    described = [*metrics.routes(counted), *openapi.routes(operations)]
    alive = health.routes(service)
    routes = [*(route for protocol in PROTOCOLS for route in protocol.routes(service)), *alive, *described]
    behind = Bounded(Router(routes, redirect_slashes=False), lambda: service.table)
    keyed = Mount("", Keyed(behind, lambda: service.keys))
    open_to_all = Router([*alive, *page.routes(), keyed], redirect_slashes=False)
    gated: ASGIApp = Gate(Refusing(open_to_all), lambda: service.table)
    if telemetry:
        gated = Joined(gated, telemetry)
    return Visits(gated, (logged, counted.visited))
