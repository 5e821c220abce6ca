"""A model that says what it is told to: for tests, demonstrations and docs. It is public, so tests need no patching."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..model import ModelInfo
from ..span import Span
from ..types import Request, Response, Usage

Line = str | Response | BaseException
"""What a script says: words, a whole response, or a failure to raise."""


@dataclass(eq=False)
class Scripted:
    """Says its line, whoever asks; a list of lines is said in turn, a function answers the request.

    It waits `delay` seconds before its first word and `pace` seconds after each one. `heard` keeps every request.
    """

    name: str
    says: Line | Sequence[Line] | Callable[[Request], Line]
    delay: float = 0.0
    pace: float = 0.0
    usage: Usage = Usage()
    context_window: int | None = None
    heard: list[Request] = field(default_factory=list)

    @property
    def info(self) -> ModelInfo:
        """Its context window and its cost."""
        return ModelInfo(context_window=self.context_window, cost=self.cost)

    def cost(self, usage: Usage) -> float | None:
        """What a call costs, whatever it uses."""
        return self.usage.cost

    async def generate(self, request: Request, span: Span) -> Response:
        turn = len(self.heard)
        self.heard.append(request)
        span.record_sent(request)
        await asyncio.sleep(self.delay)
        line = self._line(request, turn)
        if isinstance(line, BaseException):
            raise line
        response = line if isinstance(line, Response) else Response(self.name, line, self.usage)
        words = response.text.split(" ")
        for place, word in enumerate(words):
            if span.streaming:
                span.text(word if place == len(words) - 1 else word + " ")
            if self.pace:
                await asyncio.sleep(self.pace)
        return response

    def _line(self, request: Request, turn: int) -> Line:
        if callable(self.says):
            return self.says(request)
        if isinstance(self.says, (str, Response, BaseException)):
            return self.says
        return self.says[min(turn, len(self.says) - 1)]
