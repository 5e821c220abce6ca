"""What every route shares: the models by name, how many requests at once, and what is running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from ..build import Builder
from ..errors import ConfigError, MoaError
from ..mixture import Mixture
from ..model import Events, Model, Words, stream
from ..narration import Narration, Piece
from ..trace import Trace
from ..types import Request, Response
from .visits import current

Show = Literal["fields", "think", "details", "off"]
"""How proposals are shown while the client waits: as reasoning fields, in think tags, in a details element, or not."""


class NotFound(ConfigError):
    """There is no such model here."""


class Busy(MoaError):
    """More requests than may run or wait at once. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Draining(MoaError):
    """The server is going down and takes no new requests."""


@dataclass
class Admission:
    """At most `at_once` requests run and `queue` wait; beyond that they are turned away at once."""

    at_once: int = 256
    queue: int = 256
    active: int = 0
    waiting: int = 0
    _free: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises `Busy`."""
        if self.active >= self.at_once and self.waiting >= self.queue:
            raise Busy(f"{self.active} requests are running and {self.waiting} are waiting; try again soon", 1)
        async with self._free:
            self.waiting += 1
            try:
                await self._free.wait_for(lambda: self.active < self.at_once)
            finally:
                self.waiting -= 1
            self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            async with self._free:
                self._free.notify(1)


@dataclass(frozen=True)
class Asked:
    """One request to the server, understood: which model, what, and what to show of its proposers."""

    model: Model
    request: Request
    stream: bool = False
    show: Show = "fields"


class Answering:
    """One request being answered: pieces as they come, then the response and the trace."""

    def __init__(self, events: Events, proposals: bool) -> None:
        self.events = events
        self.trace = Trace()
        self._narration = Narration(proposals)

    async def batches(self) -> AsyncIterator[list[Piece]]:
        """Everything there is to say at a moment, together. Raises what the run raises, after its last words."""
        while batch := await self.events.batch():
            pieces: list[Piece] = []
            for event in batch:
                self.trace.add(event)
                pieces += self._narration.add(event)
            if pieces:
                yield pieces

    @property
    def response(self) -> Response:
        return self.events.response


class Service:
    """The state of one server."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.table = builder.config.server
        self.admission = Admission(self.table.at_once, self.table.queue)
        self.started_at = int(time.time())
        self.draining = False
        self.running = 0  # requests taken, those that wait their turn too
        self._idle = asyncio.Event()
        self._idle.set()

    def reload(self, builder: Builder) -> None:
        """Answer from now on with another configuration; what is running goes on with the old one."""
        self.builder, self.table = builder, builder.config.server
        self.admission.at_once, self.admission.queue = self.table.at_once, self.table.queue

    def names(self) -> list[str]:
        """Every model there is to choose: the mixtures, and the models that they name."""
        config = self.builder.config
        inner = {name for table in config.mixtures.values() for name in table.references if ":" in name}
        return [f"moa:{name}" for name in config.mixtures] + sorted(n for n in inner if not n.startswith("moa:"))

    def model(self, name: str) -> Model:
        """The model of a name. A bare name is a mixture's, `:latest` is dropped. Raises `NotFound`."""
        own = name.removesuffix(":latest") or name
        alias = next((own for pattern, own in self.table.aliases.items() if fnmatchcase(name, pattern)), None)
        try:
            return self.builder.model(alias or own)
        except ConfigError as error:
            raise NotFound(str(error)) from error

    def asked(self, name: str, request: Request, *, stream: bool, show: Show | None = None) -> Asked:
        """The request, sent to the aggregator alone where it is only a client's housekeeping."""
        model = self.model(name)
        if isinstance(model, Mixture) and self._is_utility(request):
            model = (model.aggregator.models or model.layers[0].proposers)[0]
        return Asked(model, request, stream, show or self.table.proposals)

    def _is_utility(self, request: Request) -> bool:
        question = request.question.lstrip()
        return any(question.startswith(opening) for opening in self.table.utility)

    @asynccontextmanager
    async def answering(self, asked: Asked) -> AsyncIterator[Answering]:
        """Run a request. Leaving the block early cancels every call it made. Raises `Busy` or `Draining`."""
        if self.draining:
            raise Draining("the server is going down; ask again in a moment")
        proposals = asked.show != "off"
        words: Words = "none" if not asked.stream else "all" if proposals else "answer"
        self.running += 1
        self._idle.clear()
        try:
            async with self.admission.admitted(), stream(asked.model, asked.request, words) as events:
                visit = current()
                visit.run, visit.model = events.run.id, asked.model.name
                yield Answering(events, proposals)
        finally:
            self.running -= 1
            if not self.running:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until nothing is running."""
        while self.running:
            await self._idle.wait()
