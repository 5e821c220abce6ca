"""Models around a model: retries, a chain of fallbacks. One method each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ..costs.forecast import expected
from ..errors import ConfigError, ModelError
from ..model import (
    Model,
    PrefixCache,
    Span,
    WrapperModel,
    check,
    context_window,
    identity,
    machine,
    prefix_cache,
    reach,
    warm,
)
from ..types import PrewarmResult, Request, Response, Usage


@dataclass(frozen=True)
class Retried(WrapperModel):
    """Asks again when that may help, after 0.5, 1, 2 ... seconds or as long as the upstream says (Retry-After).

    It never waits past the deadline, nor longer than `patience` seconds at a time, and never repeats an answer that
    somebody is already reading.
    """

    attempts: int = 3
    pause: float = 0.5
    patience: float = 60.0

    async def generate(self, request: Request, span: Span) -> Response:
        attempt = 1
        while True:
            try:
                return await self.model.generate(request, span)
            except ModelError as error:
                wait = error.retry_after if error.retry_after is not None else self.pause * 2 ** (attempt - 1)
                if not error.retryable or attempt >= self.attempts or span.spoke:
                    raise
                if wait > self.patience or (span.remaining is not None and wait >= span.remaining):
                    raise
                span.note("retry", attempt=attempt, wait=wait, error=str(error))
            await asyncio.sleep(wait)
            attempt += 1


@dataclass(frozen=True)
class Fallback:
    """The first of several models that answers. An answer already being read is not begun again by another."""

    models: Sequence[Model]

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(self.models))
        if not self.models:
            raise ConfigError("a fallback needs at least one model")

    @property
    def name(self) -> str:
        return self.models[0].name

    @property
    def identity(self) -> str:
        """What decides the answers: all of its models, in their order."""
        return " or ".join(f"{model.name} {identity(model)}" for model in self.models)

    @property
    def context_window(self) -> int | None:
        return min((w for w in map(context_window, self.models) if w is not None), default=None)

    def check(self) -> None:
        for place, model in enumerate(self.models, 1):
            try:
                return check(model)
            except ModelError:
                if place == len(self.models):
                    raise
        return None

    @property
    def prefix_cache(self) -> PrefixCache:
        """Whether the first model may be asked to read ahead."""
        return prefix_cache(self.models[0])

    @property
    def machine(self) -> str | None:
        """Where the first model runs."""
        return machine(self.models[0])

    def reach(self) -> None:
        """Have the first model open the way to where it runs."""
        reach(self.models[0])

    async def warm(self, request: Request) -> PrewarmResult | None:
        """Have the first model read the beginning of a prompt ahead of its call."""
        return await warm(self.models[0], request)

    def expected(self, request: Request, read: int) -> Usage:
        """What a call is likely to use: the first model's part."""
        return expected(self.models[0], request, read)

    async def generate(self, request: Request, span: Span) -> Response:
        *chain, last = self.models
        for model in chain:
            try:
                return await span.call(model, request, role=span.role, answers=True)
            except ModelError as error:
                if span.spoke:
                    raise
                span.note("fallback", model=model.name, error=str(error))
        return await span.call(last, request, role=span.role, answers=True)
