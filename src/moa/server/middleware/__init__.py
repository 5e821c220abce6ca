"""ASGI middleware of the server."""
