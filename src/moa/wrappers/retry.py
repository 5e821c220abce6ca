"""Retries of a model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from .. import notes
from ..errors import ModelError
from ..model import WrapperModel
from ..span import Span
from ..types import Request, Response


@dataclass(frozen=True)
class Retried(WrapperModel):
    """Retries a failed call where that may help, after 0.5, 1, 2 ... seconds or as long as the upstream demands
    (Retry-After).

    It never waits past the deadline, nor longer than `patience` seconds at a time, and never retries an answer of which
    part was already streamed.
    """

    attempts: int = 3
    pause: float = 0.5
    patience: float = 60.0

    async def generate(self, request: Request, span: Span) -> Response:
        attempt = 1
        while True:
            try:
                return await self.inner.generate(request, span)
            except ModelError as error:
                wait = error.retry_after if error.retry_after is not None else self.pause * 2 ** (attempt - 1)
                if not error.retryable or attempt >= self.attempts or span.committed:
                    raise
                if wait > self.patience or (span.remaining is not None and wait >= span.remaining):
                    raise
                span.note(notes.Retry(attempt, wait, str(error)))
            await asyncio.sleep(wait)
            attempt += 1
