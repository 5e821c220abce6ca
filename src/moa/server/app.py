"""The application: every protocol's routes over one service."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import ASGIApp

from . import chat
from .refusals import no_such_method, no_such_path
from .request_ids import RequestIds
from .service import Service

PROTOCOLS = (chat,)


def create_app(service: Service) -> ASGIApp:
    """The ASGI application of a service."""
    routes = [route for protocol in PROTOCOLS for route in protocol.routes(service)]
    return RequestIds(Starlette(routes=routes, exception_handlers={404: no_such_path, 405: no_such_method}))
