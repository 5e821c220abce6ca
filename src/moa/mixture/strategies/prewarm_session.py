"""One model's prompt, read ahead piece by piece as more of it becomes known, and whether that has paid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ...errors import ModelError
from ...model import info, prewarm, unwrap_defaults
from ...span import Span
from ...types import PrewarmResult, Request, Response, Usage
from ..references import PendingPrompt

CHUNK = 64
"""Tokens that must be new for a prompt to be read on: the call itself may have to wait until so many are read."""

ENOUGH = 128
"""Tokens that must have been read before for a server to show whether it has kept them."""


@dataclass
class PrewarmStats:
    """Whether reading ahead has paid, model by model.

    After `most` times in a row that a server had not kept what it had read, or failed, nothing is read ahead by that
    model for `rest` seconds.
    """

    most: int = 3
    rest: float = 300.0
    _misses: dict[str, int] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)

    def pays(self, model: str) -> bool:
        """Whether this model is to read ahead now."""
        return time.monotonic() >= self._until.get(model, 0.0)

    def add(self, model: str, kept: bool) -> None:
        """Count one time."""
        self._misses[model] = 0 if kept else self._misses.get(model, 0) + 1
        if self._misses[model] >= self.most:
            self._misses[model] = 0
            self._until[model] = time.monotonic() + self.rest


class PrewarmSession:
    """What one reader has read of its prompt so far. Use it as a context: at its end the trace tells what was done."""

    def __init__(self, reader: PendingPrompt, habits: PrewarmStats, above: Span, layer: int) -> None:
        # its own instruction is left out, as it comes after the references
        self._model, tuned = unwrap_defaults(reader.model, reader.request)
        self._request = Request(reader.request.messages, tools=reader.request.tools, extra=tuned.extra)
        self._prompt = reader.prompt
        self._name = reader.model.name
        self._habits = habits
        self._above = above
        self._layer = layer
        self._paid = info(reader.model).prewarm == "paid"
        self._stack = ExitStack()
        self._span: Span | None = None
        self._asked: Request | None = None
        self._last: PrewarmResult | None = None
        self._pace = 0.0  # seconds for a token, when nothing had been read before
        self._times = 0
        self._read = 0
        self._seconds = 0.0
        self._saved = 0.0

    def __enter__(self) -> PrewarmSession:
        self._stack.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        if self._span and self._last:
            told = {"tokens": self._last.tokens, "read": self._read, "times": self._times}
            self._span.note("read_ahead", **told, seconds=self._seconds, saved=max(0.0, self._saved))
        self._stack.__exit__(*raised)

    def due(self, complete: Sequence[Response], opened: Response | None) -> Request | None:
        """The beginning of the prompt, if there is enough in it that has not been read.

        Where reading is paid for, a proposal is read when it is complete, and not again and again while it grows.
        """
        beginning = self._prompt.beginning(self._request, complete, None if self._paid else opened)
        window = info(self._model).context_window
        if window is not None and beginning.size > window:
            return None
        known = self._asked.size if self._asked and _goes_on(self._asked, beginning) else 0
        return beginning if beginning.size - known >= CHUNK else None

    async def on(self, beginning: Request) -> bool:
        """Read on; False if the machine had something better to do. Raises `ModelError`."""
        if self._span is None:
            self._span = self._stack.enter_context(self._above.section("reading", self._name, layer=self._layer))
        try:
            warmed = await prewarm(self._model, beginning)
        except ModelError as error:
            self._habits.add(self._name, kept=False)
            self._above.note("unread", model=self._name, error=str(error))
            raise
        if warmed is None:
            return False
        known = self._last.tokens if self._last and self._asked and _goes_on(self._asked, beginning) else 0
        self._asked = beginning
        self._count(warmed, known, self._span)
        return True

    def waited(self, seconds: float) -> None:
        """The call itself had to wait so long for the last piece."""
        self._saved -= seconds

    def _count(self, warmed: PrewarmResult, known: int, span: Span) -> None:
        """Take in what a piece was, `known` tokens of which had been read before."""
        read = max(0, warmed.tokens - known) if warmed.read is None else warmed.read
        kept = self._kept(warmed, known)
        if kept is not None:
            self._habits.add(self._name, kept)
        self._times += 1
        self._read += read
        self._seconds += warmed.seconds
        self._saved += 0.0 if kept is False else warmed.seconds
        billed = warmed.tokens if self._paid else read
        span.spend(Usage(billed, cost=warmed.cost, cached_tokens=billed - read))
        self._pace = self._pace or warmed.seconds / max(1, warmed.tokens)
        self._last = warmed

    def _kept(self, warmed: PrewarmResult, known: int) -> bool | None:
        """Whether the server still had what was read before; where it does not say, the time it took tells."""
        if known < ENOUGH:
            return None
        if warmed.read is not None:
            return warmed.tokens - warmed.read >= known / 2
        return warmed.seconds < self._pace * (warmed.tokens - known / 2)


def _goes_on(before: Request, after: Request) -> bool:
    """Whether what had been asked is the beginning of what is asked now."""
    pairs = zip(before.messages, after.messages, strict=True)
    return all(new.text.startswith(old.text) for old, new in pairs)
