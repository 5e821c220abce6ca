"""The state of one server that every route shares: its configuration, keys, models, store and running requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import takewhile
from typing import Any, Literal, TypeVar

from ..budget import Budget
from ..config.build import Builder
from ..config.network import is_loopback
from ..config.schema import ServerTable
from ..errors import ConfigError, MoaError
from ..events import Event, SpanEnd, SpanStart
from ..model import Model
from ..provenance.attribution import provenance_of_run
from ..sinks import EventSink, tee
from ..span import StreamMode
from ..store.store import Store
from ..streaming import Events, stream
from ..trace.narration import Narration, Piece
from ..trace.tree import Trace
from ..types import Request, Response
from .admission import Admission
from .auth.keyfile import Key
from .auth.keys import Denied, Keys, caller
from .auth.quota import seconds_to_midnight
from .middleware.request_log import current
from .redact import Redacted

Result = TypeVar("Result")

InThread = Callable[..., Awaitable[Any]]
"""Runs a function in a thread, for work that would hold up the event loop."""

Show = Literal["fields", "think", "details", "off"]
"""How proposals are shown while the client waits: as reasoning fields, in think tags, in a details element, or not."""


THREADS = 2
"""Threads for work that would block the event loop."""

MAX_NAME = 1000
"""The most characters of a model's name."""

ANYONE = "anyone"
"""The client of every request without a key, on a server that others than its owner can reach."""


class ModelNotFound(ConfigError):
    """No model of this name is served."""


class RunNotFound(MoaError):
    """No run of this id, or no call of this span in it."""


class StoreUnreadable(MoaError):
    """The store cannot be read. The cause is only logged, since it names files of the server."""


class ShuttingDown(MoaError):
    """The server is shutting down and accepts no new requests."""


@dataclass(frozen=True)
class RunRequest:
    """A client's request, resolved: the model, the request to it, and what the reply shows besides the answer.

    `unused` are the options of the client that have no effect.
    """

    model: Model
    request: Request
    stream: bool = False
    show: Show = "fields"
    provenance: bool = False
    unused: tuple[str, ...] = ()


class ActiveRun:
    """A run in progress: its pieces as they arrive, then the response, the trace, and the provenance if wanted."""

    def __init__(self, events: Events, run: RunRequest, in_thread: InThread) -> None:
        self.events = events
        self.trace = Trace()
        self.provenance: dict[str, Any] | None = None
        self._run = run
        self._in_thread = in_thread
        self._narration = Narration(run.show != "off")

    async def batches(self) -> AsyncIterator[list[Piece]]:
        """Yield all pieces that are there at a moment. Raises the error of the run, after its last piece."""
        while batch := await self.events.batch():
            pieces: list[Piece] = []
            for event in batch:
                self.trace.add(event)
                pieces += self._narration.add(event)
            if pieces:
                yield pieces
        if self._run.provenance:
            self.provenance = (await self._in_thread(provenance_of_run, self.trace)).as_json()

    async def proposals(self) -> list[Piece]:
        """Return the proposals once the run is over. Raises the error of the run."""
        return [piece async for pieces in self.batches() for piece in pieces if piece.kind == "proposal"]

    @property
    def response(self) -> Response:
        return self.events.response


class Service:
    """The state of one server."""

    def __init__(self, builder: Builder) -> None:
        self.builder, self.table, self.keys = self._check(builder)
        self.known = frozenset(self._all())
        self.admission = Admission(self.table.max_concurrency, self.table.max_queue)
        self.watchers: list[Callable[[RunRequest], EventSink]] = []
        self.store: Store | None = None
        self.started_at = int(time.time())
        self.draining = False
        self.running = 0  # accepted requests, including queued ones
        self._idle = asyncio.Event()
        self._idle.set()
        self._threads = ThreadPoolExecutor(THREADS, "moa-work")

    def close(self) -> None:
        """End the threads for work outside the event loop, after what they are doing."""
        self._threads.shutdown(cancel_futures=True)

    def reload(self, builder: Builder) -> None:
        """Use another configuration for new requests. Running ones keep the old one.

        If it raises `ConfigError`, nothing has changed.
        """
        self.builder, self.table, self.keys = self._check(builder)
        self.known = frozenset(self._all())
        self.admission.resize(self.table.max_concurrency, self.table.max_queue)

    def _check(self, builder: Builder) -> tuple[Builder, ServerTable, Keys]:
        table = builder.config.server
        keys = Keys.of(table, builder.folder)
        if not (is_loopback(table.host) or keys.required or table.allow_unauthenticated):
            raise ConfigError(
                f"server.host: every client that reaches {table.host} could spend your money; add a key with "
                "`moa keys add NAME`, or set allow_unauthenticated = true in [server]"
            )
        redacted = builder.around(lambda model, address: Redacted(model, address, lambda: self.client is None))
        return redacted, table, keys

    def keep(self, store: Store) -> None:
        """Store every run, as its caller's."""
        self.store = store
        self.watchers.append(lambda run: partial(store.emit, owner=self.client))

    async def stored(self) -> None:
        """Wait until the finished runs are stored, for at most a second."""
        if self.store:
            await asyncio.wait([asyncio.wrap_future(self.store.settled())], timeout=1.0)

    @property
    def client(self) -> str | None:
        """The client of the present request: the id of its key, or `None` for the owner of the server.

        On a server that only its own machine reaches, a request without a key is the owner's. Where others reach it
        too (another address, a proxy with its own host name, web pages), all requests without a key are one client,
        which does not see the runs that the owner made elsewhere.
        """
        if key := caller.get():
            return key.id
        table = self.table
        return None if is_loopback(table.host) and not table.allowed_hosts and not table.allowed_origins else ANYONE

    def may_see(self, owner: str | None) -> bool:
        """Whether the caller may see the runs of this client. The owner of the server may see all."""
        return self.client in (None, owner)

    async def in_thread(self, work: Callable[..., Result], *args: Any) -> Result:
        """Return `work(*args)`, run in a thread with the present caller. For work that would block all streams."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work, *args)

    def label(self, model: str) -> str:
        """Return the model's name for a metric, "other" unless it is configured, as clients may send any name."""
        return model if model in self.known else "other"

    def names(self) -> list[str]:
        """Return the models that the caller may choose: the mixtures, and the models that they name."""
        key = caller.get()
        return [name for name in self._all() if key is None or key.may(name)]

    def _all(self) -> list[str]:
        config = self.builder.config
        inner = {name for table in config.mixtures.values() for name in table.references if ":" in name}
        return [f"moa:{name}" for name in config.mixtures] + sorted(n for n in inner if not n.startswith("moa:"))

    def model(self, name: str) -> Model:
        """Return the model of a name. A bare name is a mixture's; `:latest` is dropped.

        Raises `ModelNotFound` or `Denied`.
        """
        if len(name) > MAX_NAME:  # models are cached by name
            raise ModelNotFound(f"model: at most {MAX_NAME} characters, got {len(name)}")
        own = name.removesuffix(":latest") or name
        alias = next((own for pattern, own in self.table.aliases.items() if fnmatchcase(name, pattern)), None)
        own = alias or own
        try:
            provider, inner = self.builder.config.resolve(own)
            full = f"{provider}:{inner}"
            if provider == "gguf" and full not in self.known:
                raise ModelNotFound(
                    "model: a GGUF file is served only if a mixture names it"
                )  # clients must not open others
            if (key := caller.get()) and not key.may(full):
                raise Denied(f"model: this key may not use {own}", 403)
            return self.builder.model(own)
        except ModelNotFound:
            raise
        except ConfigError as error:
            raise ModelNotFound(str(error)) from error

    def is_utility(self, request: Request) -> bool:
        """Whether a request only does a client's housekeeping, such as giving a chat its title."""
        last = takewhile(lambda message: message.role == "user", reversed(request.messages))
        return any(message.text.lstrip().startswith(self.table.utility_prompts) for message in last)

    @asynccontextmanager
    async def run(self, run: RunRequest, emit: EventSink | None = None) -> AsyncIterator[ActiveRun]:
        """Run a request. Leaving the block early cancels all its calls. `emit` receives every event.

        Raises `Busy`, `ShuttingDown` or `Denied`.
        """
        if self.draining:
            raise ShuttingDown("the server is shutting down; retry in a moment")
        mode: StreamMode = "none" if not run.stream else "all" if run.show != "off" else "answer"
        key, spending = caller.get(), Spending()
        budget = self._allowance(key)
        sink = tee(spending.add, *(watch(run) for watch in self.watchers), emit)
        self.running += 1
        self._idle.clear()
        try:
            async with (
                self.admission.admitted(),
                stream(run.model, run.request, mode, budget=budget, emit=sink) as events,
            ):
                entry = current()
                entry.run, entry.model = events.run.id, self.label(run.model.name)
                yield ActiveRun(events, run, self.in_thread)
        finally:
            if key:
                self.keys.spend(key, spending.dollars)
            self.running -= 1
            if not self.running:
                self._idle.set()

    def _allowance(self, key: Key | None) -> Budget | None:
        """Return what a request with this key may spend. Raises `Denied` when that is nothing."""
        left = self.keys.left(key) if key else None
        if left is not None and left <= 0:
            raise Denied("the daily budget of this key is spent; retry after midnight UTC", 429, seconds_to_midnight())
        return None if left is None else Budget(dollars=left)

    async def drained(self) -> None:
        """Wait until no request is running."""
        while self.running:
            await self._idle.wait()


class Spending:
    """The cost of a run so far, as far as prices are known: a fold of its events."""

    def __init__(self) -> None:
        self.dollars = 0.0
        self._above: set[str] = set()

    def add(self, event: Event) -> None:
        if isinstance(event, SpanStart):
            if event.parent:
                self._above.add(event.parent)
            if event.role in ("layer", "section"):
                self._above.add(event.span)
        elif isinstance(event, SpanEnd) and event.usage and event.span not in self._above:
            self.dollars += event.usage.cost or 0.0
