"""A scripted model for tests, demonstrations and docs. It is public, so that tests need no patching."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..model import ModelInfo
from ..span import Span
from ..types import Request, Response, Usage

Line = str | Response | BaseException
"""One scripted reply: text, a whole response, or an exception to raise."""


@dataclass(eq=False)
class Scripted:
    """A model with scripted replies: one for all calls, a list in turn, or a function of the request.

    It waits `delay` seconds before its first word and `pace` seconds after each one. `requests` collects the requests.
    """

    name: str
    says: Line | Sequence[Line] | Callable[[Request], Line]
    delay: float = 0.0
    pace: float = 0.0
    usage: Usage = Usage()
    context_window: int | None = None
    requests: list[Request] = field(default_factory=list)

    @cached_property
    def info(self) -> ModelInfo:
        """Its context window and its cost."""
        return ModelInfo(context_window=self.context_window, cost=self.cost)

    def cost(self, usage: Usage) -> float | None:
        """Return the scripted cost."""
        return self.usage.cost

    async def generate(self, request: Request, span: Span) -> Response:
        turn = len(self.requests)
        self.requests.append(request)
        span.record_sent(request)
        await asyncio.sleep(self.delay)
        line = self._line(request, turn)
        if isinstance(line, BaseException):
            raise line
        response = line if isinstance(line, Response) else Response(self.name, line, self.usage)
        words = response.text.split(" ")
        for index, word in enumerate(words):
            if span.streaming:
                span.text(word if index == len(words) - 1 else word + " ")
            if self.pace:
                await asyncio.sleep(self.pace)
        return response

    def _line(self, request: Request, turn: int) -> Line:
        if callable(self.says):
            return self.says(request)
        if isinstance(self.says, (str, Response, BaseException)):
            return self.says
        return self.says[min(turn, len(self.says) - 1)]
