"""The process of `moa serve`: its socket, signals, start and shutdown.

SIGTERM or SIGINT rejects new requests, finishes running ones and exits; a second one exits at once. SIGHUP reloads the
configuration, all of it or nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import uvicorn

from ..config.build import Builder
from ..config.load import Config, load
from ..errors import ConfigError, MoaError
from ..store.settings import keeping, remembering
from ..telemetry.setup import start_telemetry
from .app import create_app
from .connection import Connection
from .ops.logs import Form, configure_logging
from .service import Service

log = logging.getLogger("moa.server")


def run(
    config: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    *,
    allow_unauthenticated: bool | None = None,
    log_format: Form | None = None,
) -> int:
    """Serve until a signal stops it, and return the exit code. Raises `ConfigError` if it cannot start.

    The other parameters override the settings of the same name in `[server]`.
    """
    given = {
        "host": host,
        "port": port,
        "allow_unauthenticated": allow_unauthenticated,
        "log_format": log_format,
    }
    source = Source(config, given)
    builder = source.builder()
    configure_logging(builder.config.server.log_format)
    service = Service(builder)
    table = service.table
    observing = start_telemetry(service.builder.config.telemetry, log.warning)
    with (
        closing(service),
        _listening(table.host, table.port) as listening,
        store_runs(service),
        observing as telemetry,
    ):
        settings = uvicorn.Config(
            create_app(service, telemetry),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,  # longer than the pools of common clients keep a connection, so theirs end first
            timeout_graceful_shutdown=5,
        )
        server = Server(settings, service, source, _address(listening))
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(server.serve([listening]))
    return server.code


class Source:
    """The file of the configuration, and the settings of the command line that override it."""

    def __init__(self, path: Path | None, overrides: Mapping[str, Any]) -> None:
        self._path = path
        self._overrides = {key: value for key, value in overrides.items() if value is not None}

    def builder(self) -> Builder:
        """Return a builder of the configuration as it is now, with its prompt files. Raises `ConfigError`."""
        config, path = load(self._path)
        if self._overrides:
            config = Config.model_validate({**dict(config), "server": {**dict(config.server), **self._overrides}})
        builder = Builder(config, path.parent if path else Path(), remembering(config.store))
        builder.check()
        return builder


class Server(uvicorn.Server):
    """uvicorn with its own signal handlers. `code` is the exit code."""

    def __init__(self, settings: uvicorn.Config, service: Service, source: Source, address: str) -> None:
        super().__init__(settings)
        self.code = 0
        self._service = service
        self._source = source
        self._address = address
        self._draining: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        stopping = [signal.SIGINT, signal.SIGTERM]
        try:
            for number in stopping:
                loop.add_signal_handler(number, self._stop, number)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
        except (NotImplementedError, AttributeError):  # Windows
            for number in stopping:
                signal.signal(number, lambda number, _: loop.call_soon_threadsafe(self._stop, number) and None)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # these objects live as long as the process; collections during streams skip them
        gc.set_threshold(400_000, 20, 50)  # a finished run rarely needs a collection, and each one stalls all streams
        sys.setswitchinterval(0.001)  # bounds how long the store's thread keeps the loop waiting
        asyncio.get_running_loop().run_in_executor(None, _import_models)
        names = ", ".join(f"moa:{name}" for name in self._service.builder.config.mixtures)
        ready = f"ready on {self._address} with {names}"
        if self._service.table.log_format == "json":
            log.info(ready)
        else:
            print(ready, file=sys.stderr, flush=True)  # noqa: T201

    def _stop(self, number: int) -> None:
        if self._draining:
            self.code = 128 + number
            self.config.timeout_graceful_shutdown = 0
            self.force_exit = self.should_exit = True
        else:
            self._service.draining = True
            self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        if running := self._service.running:
            log.info("shutting down after %d running requests; signal again to stop at once", running)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._service.table.shutdown_timeout):
                await self._service.drained()
        self.should_exit = True

    def _reload(self) -> None:
        try:
            self._service.reload(self._source.builder())
        except MoaError as error:
            log.error("configuration not reloaded, the old one stays in use: %s", error)
        else:
            log.info("reloaded: %s", ", ".join(self._service.builder.config.mixtures))


def _import_models() -> None:
    """Import what the first request needs, and exempt it from garbage collection."""
    import_module("moa.models.openai.model")
    gc.freeze()


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@contextmanager
def store_runs(service: Service) -> Iterator[None]:
    """Store every run, in the store that the configuration names at the start."""
    store = keeping(service.builder.config.store, lambda problem: log.warning("runs are not stored: %s", problem))
    if store is None:
        yield
        return
    service.keep(store)
    with store:
        yield


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Open a listening socket. Raises `ConfigError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "; stop the other server or choose another --port" if "in use" in str(reason) else ""
        raise ConfigError(f"{host}:{port}: cannot listen: {reason}{hint}") from None
    with listening:
        yield listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
