"""Hedged calls: a slow call gets a second one, the first response wins, and the other call is cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from .. import notes
from ..model import WrapperModel
from ..span import CacheUse, CallSpec, Span
from ..types import Request, Response


@dataclass(frozen=True)
class Hedged(WrapperModel):
    """Makes a second call if there is no response after `after` seconds. Off by default: it can double the cost."""

    after: float

    async def generate(self, request: Request, span: Span) -> Response:
        calls: set[asyncio.Task[Response]] = {self._call(request, span)}
        try:
            done, _ = await asyncio.wait(calls, timeout=self.after)
            if not done:
                span.note(notes.Hedged(self.after))
                calls.add(self._call(request, span, "private"))
            pending = set(calls)
            while True:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                won = next((call for call in done if not call.exception()), None)
                if won or not pending:
                    return (won or done.pop()).result()
        finally:
            for call in calls:
                call.cancel("the other call was first")
            await asyncio.gather(*calls, return_exceptions=True)

    def _call(self, request: Request, span: Span, cache: CacheUse = "shared") -> asyncio.Task[Response]:
        return asyncio.create_task(span.call(self.inner, request, CallSpec(span.role, cache=cache)))
