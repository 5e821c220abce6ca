"""Prewarming: the models that will read the proposals of a layer read them while the last ones are being written.

A model reads its prompt before it writes its first token, and on a local machine that may take longer than all else. A
server that keeps what it has read (a prefix cache) can be sent the beginning of the prompt early: the conversation, the
complete proposals, and the one being written that comes after them. When the last proposal is complete, only its tail
is left to read. The prompt is the same as without prewarming, and so is the answer.
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
from ..aggregators import pending_prompt
from ..collector import ProposalObserver
from ..layer import Layer
from ..references import PendingPrompt
from ..run import MixtureRun, Strategy
from .prewarm_session import CHUNK, PrewarmSession, PrewarmStats

CHARACTERS = 4 * CHUNK
"""About how many new characters are worth another call."""

PAUSE = 0.25
"""Seconds until a busy host is asked again."""

TIMEOUT = 30.0
"""Seconds that the real call waits at most for a prewarming call in progress. It needs the result, but a server may
hang."""


@dataclass(frozen=True)
class Prewarm(Strategy):
    """Has the models that will read the proposals of a layer read them while they are written, where that saves time.

    Which models can do that, and at which price, is in their `ModelInfo.prewarm`. Nothing is prewarmed for money in a
    run with a budget, which does not include it. `stats` is what was learned of each model; it is kept from run to run.
    """

    stats: PrewarmStats = field(default_factory=PrewarmStats, repr=False, compare=False)

    def observe(self, run: MixtureRun, layer: Layer) -> AbstractAsyncContextManager[ProposalObserver] | None:
        if layer.order == "shuffled":  # the beginning of the prompt is not known before all proposals are complete
            return None
        paid = run.budget is None
        prompts = {
            _without_defaults(prompt.model): prompt
            for prompt in _pending_prompts(run)
            if self._saves_time(prompt.model, layer.proposers, paid)
        }
        if not prompts:
            return None
        in_order = layer.order == "declared"
        return Prewarmer(list(prompts.values()), layer.proposers, run.span, run.number + 1, self.stats, in_order)

    def _saves_time(self, model: Model, proposers: Sequence[Model], paid: bool) -> bool:
        """Return whether the model can be prewarmed and would be idle otherwise: some proposer must run elsewhere."""
        known = info(model)
        able = known.prewarm in ("free", "paid" if paid else "free") and self.stats.pays(model.name)
        return able and any(info(proposer).host != known.host for proposer in proposers)


def _pending_prompts(run: MixtureRun) -> list[PendingPrompt]:
    """Return the prompts that will show the proposals of the current layer."""
    if not run.remaining_layers:
        last = pending_prompt(run.mixture.aggregator, run.request)
        return [last] if last else []
    following = run.remaining_layers[0]
    return [PendingPrompt(model, following.prompt, run.question) for model in following.proposers]


def _without_defaults(model: Model) -> int:
    """Return what all samples of a model have in common, whatever their options."""
    while isinstance(model, WithDefaults):
        model = model.inner
    return id(model)


class Prewarmer:
    """Observes the proposals of one layer and prewarms the prompts that will show them. Use it as a context.

    With `in_order` the references stand as declared; otherwise in the order in which they were first sent, see `order`.
    `layer` is the number of the layer that reads them.
    """

    def __init__(
        self,
        prompts: Sequence[PendingPrompt],
        proposers: Sequence[Model],
        span: Span,
        layer: int,
        stats: PrewarmStats,
        in_order: bool,
    ) -> None:
        self._prompts = prompts
        self._names = [proposer.name for proposer in proposers]
        self._span = span
        self._layer = layer
        self._stats = stats
        self._in_order = in_order
        self._listens = any(info(prompt.model).prewarm == "free" for prompt in prompts)
        self._texts: dict[int, list[str]] = {}
        self._lengths: dict[int, int] = {}
        self._done: dict[int, Response] = {}
        self._failed: set[int] = set()
        self._order: list[int] = []  # of the proposals in the prompt; the last one may be incomplete
        self._closed: float | None = None
        self._changed = [asyncio.Event() for _ in prompts]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Prewarmer:
        pairs = zip(self._prompts, self._changed, strict=True)
        self._tasks = [asyncio.create_task(self._prewarm(prompt, changed)) for prompt, changed in pairs]
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        """Wait for prewarming calls in progress if the real call needs their result, and cancel them otherwise.

        A real call that came meanwhile would find the server's slot busy, and read its whole prompt in another one.
        """
        self._close()
        needed = error is None and not (self._order and self._order[-1] not in self._done)
        await asyncio.wait(self._tasks, timeout=TIMEOUT if needed else 0)
        for task in self._tasks:
            task.cancel("the call itself began")
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def text_listener(self, index: int) -> TextListener | None:
        return (lambda text: self._on_text(index, text)) if self._listens else None

    def on_done(self, index: int, response: Response) -> None:
        self._done[index] = response
        self._on_end()

    def on_failed(self, index: int) -> None:
        self._failed.add(index)
        self._on_end()

    def order(self, indexes: Sequence[int]) -> list[int]:
        """Return these indexes, given in order of arrival, in the order in which they stand in the prompt."""
        first = [index for index in self._order if index in indexes]
        return first + [index for index in indexes if index not in first]

    def _on_text(self, index: int, text: str | None) -> None:
        if text is None:
            self._texts[index], self._lengths[index] = [], 0
            return
        before = self._lengths.get(index, 0)
        self._texts.setdefault(index, []).append(text)
        self._lengths[index] = before + len(text)
        if before // CHARACTERS != self._lengths[index] // CHARACTERS:
            self._wake()

    def _on_end(self) -> None:
        """Continue, unless the real call is about to begin."""
        if len(self._done) + len(self._failed) < len(self._names):
            self._wake()
        else:
            self._close()

    def _close(self) -> None:
        self._closed = self._closed or time.perf_counter()
        self._wake()

    def _wake(self) -> None:
        for changed in self._changed:
            changed.set()

    async def _prewarm(self, prompt: PendingPrompt, changed: asyncio.Event) -> None:
        beginning = None
        with suppress(ModelError), PrewarmSession(prompt, self._stats, self._span, self._layer) as session:
            while self._closed is None:
                changed.clear()
                beginning = session.due(*self._known())
                if beginning is None:
                    await changed.wait()
                elif not await session.send(beginning):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), PAUSE)
            if beginning is not None:
                session.waited(time.perf_counter() - self._closed)

    def _known(self) -> tuple[list[Response], Response | None]:
        """Return the proposals that certainly come first in the prompt, and the incomplete one after them."""
        while not self._order or self._order[-1] in self._done or self._order[-1] in self._failed:
            if self._order and self._order[-1] in self._failed:
                self._order.pop()
            elif (following := self._next()) is not None:
                self._order.append(following)
            else:
                break
        complete = [self._done[index] for index in self._order if index in self._done]
        if len(complete) == len(self._order):
            return complete, None
        index = self._order[-1]
        text, space, _ = "".join(self._texts.get(index, ())).rpartition(" ")  # the last word may become longer
        return complete, Response(self._names[index], text + space)

    def _next(self) -> int | None:
        """Return the index of the proposal that comes next in the prompt, or `None` if that is open.

        Of several incomplete ones it is the longest, once its length is worth a call.
        """
        candidates = [index for index in range(len(self._names)) if index not in {*self._order, *self._failed}]
        if self._in_order:
            return candidates[0] if candidates else None
        complete = [index for index in self._done if index in candidates]
        if complete:
            return complete[0]
        long_enough = [index for index in candidates if self._lengths.get(index, 0) >= CHARACTERS]
        return max(long_enough, key=lambda index: self._lengths[index], default=None)
