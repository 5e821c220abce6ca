"""The cost of an answer, read from the events of its run, and the limit on what an evaluation may spend.

An answer costs the same whether it came from the call cache or not: a cached call counts with the tokens, dollars and
seconds of the call that was made. Tokens in a provider's own prompt cache are not counted apart, as they differ from
run to run.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from .. import notes
from ..errors import ConfigError
from ..trace.tree import Node, Trace
from ..types import Usage
from .task import AnswerCost

Amount = Callable[[Node, float], float]
"""How much of something a call took until a moment of the run, such as seconds or tokens."""


def answer_cost(trace: Trace) -> AnswerCost:
    """Return what a run took: tokens, dollars, calls, and the time and tokens on its longest path."""
    if trace.root is None:
        return AnswerCost()
    calls = trace.calls
    paid = Usage.total(_paid(call) for call in (*calls, *trace.prewarms)).cost
    used = Usage.total(_used(call) for call in (*calls, *trace.prewarms))
    tokens = round(_longest_path(trace.root, _tokens))
    return AnswerCost(used, len(calls), tokens, round(_longest_path(trace.root, _seconds), 4), paid)


def _longest_path(node: Node, amount: Amount, until: float = math.inf) -> float:
    """Return what the longest path through a span took until a moment.

    The children of a layer run side by side. Other children begin where those before them had got to at that moment:
    an aggregator after its proposals, a step of a staircase while they are being written.
    """
    if node.start.role == "prewarm":
        return 0.0
    if node.is_call:
        return amount(node, until)
    started = [child for child in node.children if child.start.time < until]
    if node.start.role == "layer":
        return max((_longest_path(child, amount, until) for child in started), default=0.0)
    begins: list[tuple[float, Node]] = []
    for child in started:
        before = (begin + _longest_path(other, amount, child.start.time) for begin, other in begins)
        begins.append((max(before, default=0.0), child))
    return max((begin + _longest_path(child, amount, until) for begin, child in begins), default=0.0)


def _seconds(call: Node, until: float) -> float:
    """Return how long a call took, without its time in a queue: the evaluation causes that, not the model."""
    if cached := _cached(call):
        return cached.seconds if _end(call) <= until else 0.0
    return _active(call, until)


def _tokens(call: Node, until: float) -> float:
    tokens = _used(call).output_tokens
    if _end(call) <= until:
        return tokens
    return tokens * _active(call, until) / _active(call) if not _cached(call) else 0.0


def _active(call: Node, until: float = math.inf) -> float:
    """Return the seconds of a call until a moment, without those in which it waited in a queue."""
    end = min(_end(call), until)
    waits = [(note.time, note.data.seconds) for note in call.notes if isinstance(note.data, notes.Dequeued)]
    queued = sum(max(0.0, min(time, end) - (time - seconds)) for time, seconds in waits)
    return max(0.0, end - call.start.time - queued)


def _end(call: Node) -> float:
    return call.end.time if call.end else call.start.time


def _cached(call: Node) -> notes.Cached | None:
    """Return what the call took when it was first made, if its answer came from a cache."""
    return next(iter(call.notes_of(notes.Cached)), None)


def _paid(call: Node) -> Usage:
    return call.usage or Usage(cost=0.0)


def _used(call: Node) -> Usage:
    took = _cached(call) or _paid(call)
    return Usage(took.input_tokens, took.output_tokens, took.cost)


class SpendingLimit:
    """A limit in US dollars (`None`: no limit), and what is `paid` already.

    A question is expected to cost as much as the most expensive one so far to the same model. Until one is known, a
    question runs alone.
    """

    def __init__(self, limit: float | None, paid: float = 0.0) -> None:
        self.limit = limit
        self.paid = paid
        self.reached = False
        """Whether a question was not started because it would have exceeded the limit."""
        self._highest: dict[str, float] = {}
        self._running = 0
        self._reserved = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def question(self, model: str) -> AsyncIterator[bool]:
        """Wait until the limit allows a question to a model. Yields False when it never will."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.reached or self._fits(model) or not self._running)
            self.reached = self.reached or not self._fits(model)
            started = not self.reached
            expected = self._highest.get(model, 0.0) if started else 0.0
            self._running += started
            self._reserved += expected
        try:
            yield started
        finally:
            self._running -= started
            self._reserved -= expected
            async with self._changed:
                self._changed.notify_all()

    def pay(self, model: str, dollars: float | None) -> None:
        """Add the cost of a question. Raises `ConfigError` if there is a limit and the cost is unknown."""
        if dollars is None and self.limit is not None:
            raise ConfigError(
                f"{model}: its price is unknown, so a limit of {self.limit} US dollars cannot be kept; "
                "set price = { input = ..., output = ... } in moa.toml"
            )
        self.paid += dollars or 0.0
        self._highest[model] = max(self._highest.get(model, 0.0), dollars or 0.0)

    def _fits(self, model: str) -> bool:
        if self.limit is None:
            return True
        expected = self._highest.get(model)
        if expected is None:
            return not self._running and self.paid < self.limit
        return self.paid + self._reserved + expected <= self.limit
