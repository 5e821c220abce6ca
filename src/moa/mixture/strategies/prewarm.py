"""Reading ahead: what the next layer will be asked is read by its models while the last proposals are being written.

A model reads its prompt before it says a word, and on a machine of one's own that may take longer than anything else.
A server that keeps what it has read (its prefix cache) can be given the beginning of the prompt early: the
conversation, the proposals that have arrived, and the one being written that comes after them. When the last proposal
is there, only its tail is left to read. The prompt is the same as without it, so the answer is too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field

from ...errors import ModelError
from ...model import Model, WithDefaults, info
from ...span import Span, TextListener
from ...types import Response
from ..aggregators import ReferenceReader
from ..layer import Layer, ProposalObserver
from ..references import PendingPrompt
from ..run import MixtureRun, Strategy
from .prewarm_session import CHUNK, PrewarmSession, PrewarmStats

LETTERS = 4 * CHUNK
"""About how many characters are worth reading on for."""

PAUSE = 0.25
"""Seconds until a machine that had something better to do is asked again."""

PATIENCE = 30.0
"""Seconds that the call itself waits at most for what is being read; it needs it, but a server may hang."""


@dataclass(frozen=True)
class Prewarm(Strategy):
    """Has the models that will read the proposals of a layer read them while they are written, where that saves time.

    Which models that is, and whether it may cost something, the models say themselves (`ModelInfo.prewarm`). A prompt
    is never prewarmed for money in a run with a budget, which does not include it. `stats` has what was learned of each
    model, and is kept from run to run.
    """

    stats: PrewarmStats = field(default_factory=PrewarmStats, repr=False, compare=False)

    def observe(self, run: MixtureRun, layer: Layer) -> AbstractAsyncContextManager[ProposalObserver] | None:
        if layer.order == "shuffled":  # the prompt has no beginning before all proposals are there
            return None
        paid = run.budget is None
        prompts = {
            _without_defaults(prompt.model): prompt
            for prompt in _pending_prompts(run)
            if self._gains(prompt.model, layer.proposers, paid)
        }
        if not prompts:
            return None
        in_order = layer.order == "declared"
        return Prewarmer(list(prompts.values()), layer.proposers, run.span, run.number + 1, self.stats, in_order)

    def _gains(self, model: Model, proposers: Sequence[Model], paid: bool) -> bool:
        """Return whether the model can be prewarmed and would be idle otherwise: some proposer must run elsewhere."""
        known = info(model)
        able = known.prewarm in ("free", "paid" if paid else "free") and self.stats.pays(model.name)
        return able and any(info(proposer).host != known.host for proposer in proposers)


class Prewarmer:
    """Follows the proposals of one layer and has the readers of the next one read them ahead. Use it as a context.

    `in_order` says that the proposals are handed on as they are declared; else they are handed on in the order in
    which they were begun to be read, see `ordered`. `layer` is the readers' own.
    """

    def __init__(
        self,
        readers: Sequence[PendingPrompt],
        proposers: Sequence[Model],
        span: Span,
        layer: int,
        habits: PrewarmStats,
        in_order: bool,
    ) -> None:
        self._readers = readers
        self._names = [proposer.name for proposer in proposers]
        self._span = span
        self._layer = layer
        self._habits = habits
        self._in_order = in_order
        self._listens = any(info(reader.model).prewarm == "free" for reader in readers)
        self._words: dict[int, list[str]] = {}
        self._lengths: dict[int, int] = {}
        self._arrived: dict[int, Response] = {}
        self._lost: set[int] = set()
        self._order: list[int] = []  # as the prompt has them; the last one may still be being written
        self._closed: float | None = None
        self._changed = [asyncio.Event() for _ in readers]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Prewarmer:
        pairs = zip(self._readers, self._changed, strict=True)
        self._tasks = [asyncio.create_task(self._read(reader, changed)) for reader, changed in pairs]
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        """Let what is being read be read to its end, for the call needs it; leave it where the call does not.

        A call that came meanwhile would find the place of the server busy, and be read from its first word at another.
        """
        self._close()
        needed = error is None and not (self._order and self._order[-1] not in self._arrived)
        await asyncio.wait(self._tasks, timeout=PATIENCE if needed else 0)
        for task in self._tasks:
            task.cancel("the call itself began")
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def hear(self, place: int) -> TextListener | None:
        """What is to be told the words of the proposal at this place; `None` if nobody reads them one by one."""
        return (lambda words: self._heard(place, words)) if self._listens else None

    def arrived(self, place: int, response: Response) -> None:
        """A proposal is complete."""
        self._arrived[place] = response
        self._told()

    def lost(self, place: int) -> None:
        """A proposal will not come."""
        self._lost.add(place)
        self._told()

    def ordered(self, places: Sequence[int]) -> list[int]:
        """These places, given in order of arrival, in the order in which they were read."""
        read = [place for place in self._order if place in places]
        return read + [place for place in places if place not in read]

    def _heard(self, place: int, words: str | None) -> None:
        if words is None:
            self._words[place], self._lengths[place] = [], 0
            return
        before = self._lengths.get(place, 0)
        self._words.setdefault(place, []).append(words)
        self._lengths[place] = before + len(words)
        if before // LETTERS != self._lengths[place] // LETTERS:
            self._tell()

    def _told(self) -> None:
        """Read on, unless the call itself is about to begin."""
        if len(self._arrived) + len(self._lost) < len(self._names):
            self._tell()
        else:
            self._close()

    def _close(self) -> None:
        self._closed = self._closed or time.perf_counter()
        self._tell()

    def _tell(self) -> None:
        for changed in self._changed:
            changed.set()

    async def _read(self, reader: PendingPrompt, changed: asyncio.Event) -> None:
        beginning = None
        with suppress(ModelError), PrewarmSession(reader, self._habits, self._span, self._layer) as reading:
            while self._closed is None:
                changed.clear()
                beginning = reading.due(*self._known())
                if beginning is None:
                    await changed.wait()
                elif not await reading.on(beginning):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), PAUSE)
            if beginning is not None:
                reading.waited(time.perf_counter() - self._closed)

    def _known(self) -> tuple[list[Response], Response | None]:
        """The proposals that come first in the prompt whatever else arrives, and the one being written after them."""
        while not self._order or self._order[-1] in self._arrived or self._order[-1] in self._lost:
            if self._order and self._order[-1] in self._lost:
                self._order.pop()
            elif (following := self._next()) is not None:
                self._order.append(following)
            else:
                break
        complete = [self._arrived[place] for place in self._order if place in self._arrived]
        if len(complete) == len(self._order):
            return complete, None
        place = self._order[-1]
        written, space, _ = "".join(self._words.get(place, ())).rpartition(" ")  # its last word may become longer
        return complete, Response(self._names[place], written + space)

    def _next(self) -> int | None:
        """The place that comes next in the prompt; `None` while that is open.

        Of several being written at once it is the one that has said most, once that is worth reading.
        """
        open_places = [place for place in range(len(self._names)) if place not in {*self._order, *self._lost}]
        if self._in_order:
            return open_places[0] if open_places else None
        whole = [place for place in self._arrived if place in open_places]
        if whole:
            return whole[0]
        writing = [place for place in open_places if self._lengths.get(place, 0) >= LETTERS]
        return max(writing, key=lambda place: self._lengths[place], default=None)


def _pending_prompts(run: MixtureRun) -> list[PendingPrompt]:
    """Return the prompts that will show the proposals of the current layer."""
    if not run.remaining_layers:
        aggregator = run.mixture.aggregator
        return [aggregator.pending_prompt(run.request)] if isinstance(aggregator, ReferenceReader) else []
    following = run.remaining_layers[0]
    return [PendingPrompt(model, following.prompt, run.question) for model in following.proposers]


def _without_defaults(model: Model) -> int:
    """Return what all samples of a model have in common, whatever their options."""
    while isinstance(model, WithDefaults):
        model = model.inner
    return id(model)
