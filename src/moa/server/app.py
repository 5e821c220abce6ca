"""The application: every protocol's routes over one service, behind the gate."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Mount, Router
from starlette.types import ASGIApp

from . import anthropic, chat, completions, health, metrics, models, ollama, openapi, page, responses, runs
from .gate import Bounded, Gate, Keyed
from .refusals import no_such_method, no_such_path
from .request_ids import RequestIds
from .service import Service
from .visits import Visits, logged

PROTOCOLS = (
    chat,
    completions,
    models,
    responses,
    anthropic,
    ollama,
    runs,
)


def create_app(service: Service) -> ASGIApp:
    """The ASGI application of a service."""
    counted = metrics.Metrics(service)
    service.watchers.append(counted.watch)
    operations = [one for module in (*PROTOCOLS, health, metrics) for one in module.OPERATIONS]
    described = [*metrics.routes(counted), *openapi.routes(operations)]
    alive = health.routes(service)
    routes = [*alive, *described, *(route for protocol in PROTOCOLS for route in protocol.routes(service))]
    behind = Bounded(Router(routes, redirect_slashes=False), lambda: service.table)
    keyed = Mount("", Keyed(behind, lambda: service.keys))
    refusals = {404: no_such_path, 405: no_such_method}
    app = Starlette(routes=[*alive, *page.routes(), keyed], exception_handlers=refusals)
    return RequestIds(Visits(Gate(app, lambda: service.table), (logged, counted.visited)))
