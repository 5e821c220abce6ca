"""The application: every protocol's routes over one service."""

from __future__ import annotations

from starlette.applications import Starlette

from . import chat
from .service import Service

PROTOCOLS = (chat,)


def create_app(service: Service) -> Starlette:
    """The ASGI application of a service."""
    return Starlette(routes=[route for protocol in PROTOCOLS for route in protocol.routes(service)])
