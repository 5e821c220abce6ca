"""`moa serve` as a process: its socket, its signals, its log, and how it comes up and goes down.

SIGTERM or SIGINT: new requests are turned away while running answers finish, then it ends; a second one ends it at
once. SIGHUP: the configuration is read again, all of it or nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import uvicorn

from ..config.build import Builder
from ..config.load import Config, load
from ..errors import ConfigError, MoaError
from ..store.settings import keeping, remembering
from ..telemetry.setup import observed
from .app import create_app
from .connection import Connection
from .ops.logs import Form, begin
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
    begin(builder.config.server.log_format)
    service = Service(builder)
    table = service.table
    told = observed(service.builder.config.telemetry, log.warning)
    with _listening(table.host, table.port) as listening, kept(service), told as telemetry:
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
    """Where the configuration comes from, and what the command line says instead."""

    def __init__(self, path: Path | None, said: Mapping[str, Any]) -> None:
        self._path = path
        self._said = {key: value for key, value in said.items() if value is not None}

    def builder(self) -> Builder:
        """The configuration as it now stands, with its prompt files. Raises `ConfigError`."""
        config, path = load(self._path)
        if self._said:
            config = Config.model_validate({**dict(config), "server": {**dict(config.server), **self._said}})
        builder = Builder(config, path.parent if path else Path(), remembering(config.store))
        builder.check()
        return builder


class Server(uvicorn.Server):
    """uvicorn with signals of our own. `code` is the exit code when it is over."""

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
        gc.freeze()  # what is there now stays; the collector need not walk it in the middle of a stream
        gc.set_threshold(400_000, 20, 50)  # hardly any run that is over needs it, and it stops all that go on
        sys.setswitchinterval(0.001)  # so long at most a thread that stores runs keeps the loop waiting
        asyncio.get_running_loop().run_in_executor(None, _prepared)
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
            log.info("stopping when %d running answers have ended; once more to stop at once", running)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._service.table.shutdown_timeout):
                await self._service.drained()
        self.should_exit = True

    def _reload(self) -> None:
        try:
            self._service.reload(self._source.builder())
        except MoaError as error:
            log.error("not reloaded, and all is as before: %s", error)
        else:
            log.info("reloaded: %s", ", ".join(self._service.builder.config.mixtures))


def _prepared() -> None:
    """Import what the first request needs, and keep that from the collector too."""
    import_module("moa.models.openai.model")
    gc.freeze()


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@contextmanager
def kept(service: Service) -> Iterator[None]:
    """Keep every run, in the store of the configuration as it is at the start."""
    store = keeping(service.builder.config.store, lambda problem: log.warning("runs are not stored: %s", problem))
    if store is None:
        yield
        return
    service.keep(store)
    with store:
        yield


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that takes connections. Raises `ConfigError`."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        opened = socket.create_server(place[:2], family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "; is it running already? Another one: --port" if "in use" in str(reason) else ""
        raise ConfigError(f"cannot serve on {host}:{port}: {reason}{hint}") from None
    with opened:
        yield opened


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
