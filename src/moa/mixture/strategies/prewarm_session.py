"""Prewarms the prompt of one model piece by piece, and measures whether that saves time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ... import notes
from ...errors import ModelError
from ...model import info, prewarm, unwrap_defaults
from ...span import Span
from ...types import PrewarmResult, Request, Response, Usage
from ..references import PendingPrompt

CHUNK = 64
"""New tokens that are worth a call. The real call may have to wait until such a call has ended."""

ENOUGH = 128
"""Tokens that must have been sent before to tell whether a server keeps them."""


@dataclass
class PrewarmStats:
    """Whether prewarming has been useful, model by model.

    After `most` consecutive failures, or calls for which the server had not kept the prompt, the model is not prewarmed
    for `rest` seconds.
    """

    most: int = 3
    rest: float = 300.0
    _misses: dict[str, int] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)

    def pays(self, model: str) -> bool:
        """Return whether to prewarm this model now."""
        return time.monotonic() >= self._until.get(model, 0.0)

    def add(self, model: str, kept: bool) -> None:
        """Count one call."""
        self._misses[model] = 0 if kept else self._misses.get(model, 0) + 1
        if self._misses[model] >= self.most:
            self._misses[model] = 0
            self._until[model] = time.monotonic() + self.rest


class PrewarmSession:
    """The prewarming calls for one prompt. Use it as a context: at its end it emits a note with the totals."""

    def __init__(self, prompt: PendingPrompt, stats: PrewarmStats, parent: Span, layer: int) -> None:
        # the model's own instruction is left out, as it comes after the references
        self._model, request = unwrap_defaults(prompt.model, prompt.request)
        self._request = Request(prompt.request.messages, tools=prompt.request.tools, extra=request.extra)
        self._prompt = prompt.prompt
        self._name = prompt.model.name
        self._stats = stats
        self._parent = parent
        self._layer = layer
        self._paid = info(prompt.model).prewarm == "paid"
        self._stack = ExitStack()
        self._span: Span | None = None
        self._sent: Request | None = None
        self._last: PrewarmResult | None = None
        self._seconds_per_token = 0.0  # for a prompt of which nothing was kept
        self._times = 0
        self._read = 0
        self._seconds = 0.0
        self._saved = 0.0

    def __enter__(self) -> PrewarmSession:
        self._stack.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        if self._span and self._last:
            saved = max(0.0, self._saved)
            self._span.note(notes.Prewarmed(self._last.tokens, self._read, self._times, self._seconds, saved))
        self._stack.__exit__(*raised)

    def due(self, complete: Sequence[Response], incomplete: Response | None) -> Request | None:
        """Return the beginning of the prompt if enough of it is new, or `None`.

        If prewarming costs money, a proposal is sent once, when it is complete, rather than again while it grows.
        """
        beginning = self._prompt.beginning(self._request, complete, None if self._paid else incomplete)
        window = info(self._model).context_window
        if window is not None and beginning.size > window:
            return None
        known = self._sent.size if self._sent and _continues(self._sent, beginning) else 0
        return beginning if beginning.size - known >= CHUNK else None

    async def send(self, beginning: Request) -> bool:
        """Send the beginning of the prompt. Return `False` if the host was busy. Raises `ModelError`."""
        if self._span is None:
            self._span = self._stack.enter_context(self._parent.section("prewarm", self._name, layer=self._layer))
        try:
            result = await prewarm(self._model, beginning)
        except ModelError as error:
            self._stats.add(self._name, kept=False)
            self._parent.note(notes.PrewarmFailed(self._name, str(error)))
            raise
        if result is None:
            return False
        known = self._last.tokens if self._last and self._sent and _continues(self._sent, beginning) else 0
        self._sent = beginning
        self._count(result, known, self._span)
        return True

    def waited(self, seconds: float) -> None:
        """Count the time that the real call had to wait for the last call."""
        self._saved -= seconds

    def _count(self, result: PrewarmResult, known: int, span: Span) -> None:
        """Count a call; `known` tokens of it had been sent before."""
        read = max(0, result.tokens - known) if result.read is None else result.read
        kept = self._kept(result, known)
        if kept is not None:
            self._stats.add(self._name, kept)
        self._times += 1
        self._read += read
        self._seconds += result.seconds
        self._saved += 0.0 if kept is False else result.seconds
        billed = result.tokens if self._paid else read
        span.spend(Usage(billed, cost=result.cost, cached_tokens=billed - read))
        self._seconds_per_token = self._seconds_per_token or result.seconds / max(1, result.tokens)
        self._last = result

    def _kept(self, result: PrewarmResult, known: int) -> bool | None:
        """Return whether the server still had what it had read, judged by its duration if it does not report that.

        `None` if too little had been sent to tell.
        """
        if known < ENOUGH:
            return None
        if result.read is not None:
            return result.tokens - result.read >= known / 2
        return result.seconds < self._seconds_per_token * (result.tokens - known / 2)


def _continues(before: Request, after: Request) -> bool:
    """Return whether a prompt begins with the one before it."""
    pairs = zip(before.messages, after.messages, strict=True)
    return all(new.text.startswith(old.text) for old, new in pairs)
