"""The application on a real HTTP server on loopback, in its own thread, over an `Upstream`."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import uvicorn

from helpers.upstream import Upstream
from moa import Store
from moa.config.build import Builder
from moa.config.load import Config
from moa.server.app import create_app
from moa.server.service import Service
from moa.telemetry import Telemetry

TOML = """
default = "moa:duo"

[providers.up]
base_url = "{url}"
attempts = 1

[mixtures.duo]
description = "two proposers and a judge"
proposers = ["up:a", "up:b"]
aggregator = "up:judge"
"""
"""A mixture `moa:duo` of the upstream's models `a` and `b`, aggregated by its model `judge`."""

SAYS = {"a": "red", "b": "blue", "judge": "purple it is"}
"""Replies of these models."""


@dataclass(frozen=True)
class Answer:
    """A complete HTTP response."""

    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """Return the data of its server-sent events without [DONE]. Event names are ignored."""
        lines = self.body.decode().split("\n")
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(one) for one in data if one != "[DONE]"]


class ImmediateShutdownServer(uvicorn.Server):
    """uvicorn that stops at once, instead of polling ten times a second."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        connections, tasks = self.server_state.connections, self.server_state.tasks
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(0.002)  # registers a connection that was just accepted
                while connections or tasks:
                    for connection in list(connections):
                        connection.shutdown()
                    await asyncio.sleep(0.002)
        for task in tasks:
            task.cancel()
        for connection in list(connections):
            connection.transport.abort()
        await self.lifespan.shutdown()

    def end(self) -> None:
        """Stop the server from another thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)


class Served:
    """`with Served(toml) as served`. `{url}` in the TOML is the upstream's address. Runs go to `store`."""

    def __init__(
        self,
        toml: str = TOML,
        upstream: Upstream | None = None,
        store: Store | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        config = Config.model_validate(tomllib.loads(toml.replace("{url}", upstream.url if upstream else "")))
        self.service = Service(Builder(config, Path.cwd()))
        if store:
            self.service.keep(store)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = ImmediateShutdownServer(
            uvicorn.Config(create_app(self.service, telemetry), log_config=None, ws="none", access_log=False)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end()
        self._thread.join()
        self._socket.close()
        self.service.close()
        if self.service.store:
            self.service.store.close()

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Send a request, with `body` as JSON unless it is bytes, and return the complete response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            with suppress(BrokenPipeError):  # a refusal may arrive before the body is sent
                connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            reply = connection.getresponse()
            headers = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, headers, reply.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        return self.ask("POST", path, body, headers)

    def post_until(self, mark: bytes, then: Callable[[], object], path: str, body: Any) -> Answer:
        """Read the response up to a mark, call `then`, and read the rest."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            read = b""
            while mark not in read:
                read += reply.read1()
                assert mark in read or not reply.isclosed(), read
            then()
            headers = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, headers, read + reply.read())
        finally:
            connection.close()

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self.ask("GET", path, None, headers)


@contextmanager
def serving(says: Any = SAYS, toml: str = TOML, store: Store | None = None) -> Iterator[tuple[Served, Upstream]]:
    """Start a server and its upstream, which replies as configured."""
    with Upstream(says) as upstream, Served(toml, upstream, store) as served:
        yield served, upstream
