"""What every route shares: the models by name, how many requests at once, and what is running."""

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
from ..mixture.mixture import Mixture
from ..model import EventSink, Model, StreamMode
from ..provenance.attribution import of_run
from ..sinks import tee
from ..store.store import Store
from ..streaming import Events, stream
from ..trace.narration import Narration, Piece
from ..trace.tree import Trace
from ..types import Request, Response
from .admission import Admission
from .auth.keys import Denied, Key, Keys, caller, midnight
from .middleware.request_log import current
from .redact import Redacted

Result = TypeVar("Result")

Aside = Callable[..., Awaitable[Any]]
"""Has work done beside the event loop."""

Show = Literal["fields", "think", "details", "off"]
"""How proposals are shown while the client waits: as reasoning fields, in think tags, in a details element, or not."""


ASIDE = 2
"""Threads for work that would hold up every stream."""

LONGEST = 1000
"""Characters of a model's name."""

ANYONE = "anyone"
"""Who asked, where others than the user of this machine ask without a key."""


class NotFound(ConfigError):
    """There is no such model here."""


class NoRun(MoaError):
    """There is no such run here, or no such call in it."""


class Unreadable(MoaError):
    """The store cannot be read. Why stands in the log, as it names files of the server."""


class Draining(MoaError):
    """The server is going down and takes no new requests."""


@dataclass(frozen=True)
class RunRequest:
    """One request to the server, understood: which model, what, and what to tell of its proposers."""

    model: Model
    request: Request
    stream: bool = False
    show: Show = "fields"
    provenance: bool = False


class ActiveRun:
    """One request being answered: pieces as they come, then the response and the trace; the provenance if asked for."""

    def __init__(self, events: Events, asked: RunRequest, aside: Aside) -> None:
        self.events = events
        self.trace = Trace()
        self.provenance: dict[str, Any] | None = None
        self._asked = asked
        self._aside = aside
        self._narration = Narration(asked.show != "off")

    async def batches(self) -> AsyncIterator[list[Piece]]:
        """Everything there is to say at a moment, together. Raises what the run raises, after its last words."""
        while batch := await self.events.batch():
            pieces: list[Piece] = []
            for event in batch:
                self.trace.add(event)
                pieces += self._narration.add(event)
            if pieces:
                yield pieces
        if self._asked.provenance:
            self.provenance = (await self._aside(of_run, self.trace)).as_json()

    async def proposals(self) -> list[Piece]:
        """What the proposers said, once the run is over. Raises what the run raises."""
        return [piece async for pieces in self.batches() for piece in pieces if piece.kind == "proposal"]

    @property
    def response(self) -> Response:
        return self.events.response


class Service:
    """The state of one server."""

    def __init__(self, builder: Builder) -> None:
        self.builder, self.table, self.keys = self._taken(builder)
        self.known = frozenset(self._all())
        self.admission = Admission(self.table.at_once, self.table.queue)
        self.watchers: list[Callable[[RunRequest], EventSink]] = []
        self.store: Store | None = None
        self.started_at = int(time.time())
        self.draining = False
        self.running = 0  # requests taken, those that wait their turn too
        self._idle = asyncio.Event()
        self._idle.set()
        self._aside = ThreadPoolExecutor(ASIDE, "moa-aside")

    def reload(self, builder: Builder) -> None:
        """Answer from now on with another configuration; what is running goes on with the old one.

        Raises `ConfigError`, and then nothing has changed.
        """
        self.builder, self.table, self.keys = self._taken(builder)
        self.known = frozenset(self._all())
        self.admission.resize(self.table.at_once, self.table.queue)

    def _taken(self, builder: Builder) -> tuple[Builder, ServerTable, Keys]:
        table = builder.config.server
        keys = Keys.of(table, builder.folder)
        if not (is_loopback(table.host) or keys.required or table.open):
            raise ConfigError(
                f"whoever reaches {table.host} could spend your money: add a key with `moa keys add NAME`, "
                "or say open = true in [server]"
            )
        builder.around = lambda model, address: Redacted(model, address, lambda: self.client is None)
        return builder, table, keys

    def keep(self, store: Store) -> None:
        """Keep every run in this store, as its caller's."""
        self.store = store
        self.watchers.append(lambda asked: partial(store.emit, owner=self.client))

    async def stored(self) -> None:
        """Wait until the runs that are over are stored; but no longer than a slow disk is worth."""
        if self.store:
            await asyncio.wait([asyncio.wrap_future(self.store.settled())], timeout=1.0)

    @property
    def client(self) -> str | None:
        """Whose runs are begun now: the id of the caller's key, or `None` for whoever this server belongs to.

        Without keys that is whoever asks from this machine. Where others may reach it too (another address, a proxy
        with a name of its own, web pages), all who ask without a key are one client, who sees none of what the owner
        asked elsewhere.
        """
        if key := caller.get():
            return key.id
        table = self.table
        return None if is_loopback(table.host) and not table.hosts and not table.origins else ANYONE

    def shows(self, owner: str | None) -> bool:
        """Whether the caller may see the runs of this client; who the server belongs to may see all."""
        return self.client in (None, owner)

    async def aside(self, work: Callable[..., Result], *given: Any) -> Result:
        """Have work done that would hold up every stream: in a thread, after other work of this kind, and for the
        caller that it is asked for."""
        return await asyncio.get_running_loop().run_in_executor(self._aside, copy_context().run, work, *given)

    def label(self, model: str) -> str:
        """The model's name where the configuration names it, else "other": clients may ask for any name."""
        return model if model in self.known else "other"

    def names(self) -> list[str]:
        """Every model that the client may choose: the mixtures, and the models that they name."""
        key = caller.get()
        return [name for name in self._all() if key is None or key.may(name)]

    def _all(self) -> list[str]:
        config = self.builder.config
        inner = {name for table in config.mixtures.values() for name in table.references if ":" in name}
        return [f"moa:{name}" for name in config.mixtures] + sorted(n for n in inner if not n.startswith("moa:"))

    def model(self, name: str) -> Model:
        """The model of a name. A bare name is a mixture's, `:latest` is dropped. Raises `NotFound`."""
        if len(name) > LONGEST:  # what is built is kept, and so is its name
            raise NotFound(f"no model has a name of more than {LONGEST} characters")
        own = name.removesuffix(":latest") or name
        alias = next((own for pattern, own in self.table.aliases.items() if fnmatchcase(name, pattern)), None)
        own = alias or own
        try:
            provider, inner = self.builder.config.resolve(own)
            full = f"{provider}:{inner}"
            if provider == "gguf" and full not in self.known:
                raise NotFound("a file is served only where a mixture names it")  # else clients could open any
            if (key := caller.get()) and not key.may(full):
                raise Denied(f"this key may not use {own}", 403)
            return self.builder.model(own)
        except NotFound:
            raise
        except ConfigError as error:
            raise NotFound(str(error)) from error

    def asked(self, name: str, request: Request, *, stream: bool, show: Show | None = None) -> RunRequest:
        """The request, sent to the aggregator alone where it is only a client's housekeeping."""
        model = self.model(name)
        if isinstance(model, Mixture) and self._is_utility(request):
            model = (model.aggregator.models or model.layers[0].proposers)[0]
        return RunRequest(model, request, stream, show or self.table.proposals, self.table.provenance)

    def _is_utility(self, request: Request) -> bool:
        asked = takewhile(lambda message: message.role == "user", reversed(request.messages))
        return any(message.text.lstrip().startswith(self.table.utility) for message in asked)

    @asynccontextmanager
    async def answering(self, asked: RunRequest, emit: EventSink | None = None) -> AsyncIterator[ActiveRun]:
        """Run a request. Leaving the block early cancels every call it made. `emit` is told every event.

        Raises `Busy`, `Draining` or `Denied`.
        """
        if self.draining:
            raise Draining("the server is going down; ask again in a moment")
        words: StreamMode = "none" if not asked.stream else "all" if asked.show != "off" else "answer"
        key, spending = caller.get(), Spending()
        budget = self._allowance(key)
        told = tee(spending.add, *(watch(asked) for watch in self.watchers), emit)
        self.running += 1
        self._idle.clear()
        try:
            async with (
                self.admission.admitted(),
                stream(asked.model, asked.request, words, budget=budget, emit=told) as events,
            ):
                visit = current()
                visit.run, visit.model = events.run.id, self.label(asked.model.name)
                yield ActiveRun(events, asked, self.aside)
        finally:
            if key:
                self.keys.spend(key, spending.dollars)
            self.running -= 1
            if not self.running:
                self._idle.set()

    def _allowance(self, key: Key | None) -> Budget | None:
        """What a request with this key may spend. Raises `Denied` when that is nothing."""
        left = self.keys.left(key) if key else None
        if left is not None and left <= 0:
            raise Denied("the key has spent its budget of today", 429, midnight())
        return None if left is None else Budget(dollars=left)

    async def drained(self) -> None:
        """Wait until nothing is running."""
        while self.running:
            await self._idle.wait()


class Spending:
    """What the calls of a run have cost so far, where that is known: a fold of its events."""

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
