"""A chain of models: the first that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from .. import notes
from ..errors import ConfigError, ModelError
from ..model import Model, ModelInfo, check, info, preconnect, prewarm
from ..span import CallSpec, Span
from ..types import PrewarmResult, Request, Response


@dataclass(frozen=True)
class Fallback:
    """The first of several models that answers. After part of an answer was streamed, the next one is not tried."""

    models: Sequence[Model]

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(self.models))
        if not self.models:
            raise ConfigError("a fallback needs at least one model")

    @property
    def name(self) -> str:
        return self.models[0].name

    @cached_property
    def info(self) -> ModelInfo:
        """What is known of the first model, with the smallest context window and the cache keys of all."""
        known = [info(model) for model in self.models]
        windows = [one.context_window for one in known if one.context_window is not None]
        keys = [f"{model.name} {one.cache_key}" for model, one in zip(self.models, known, strict=True)]
        return replace(known[0], cache_key=" or ".join(keys), context_window=min(windows, default=None))

    @property
    def children(self) -> tuple[Model, ...]:
        """All models of the chain."""
        return tuple(self.models)

    def check(self) -> None:
        """Raise what would stop a call to the last model, if no model of the chain can be called."""
        *chain, last = self.models
        for model in chain:
            try:
                return check(model)
            except ModelError:
                continue
        return check(last)

    def preconnect(self) -> None:
        """Have the first model open its connection."""
        preconnect(self.models[0])

    async def prewarm(self, request: Request) -> PrewarmResult | None:
        """Have the first model read the beginning of a prompt."""
        return await prewarm(self.models[0], request)

    async def generate(self, request: Request, span: Span) -> Response:
        spec = CallSpec(span.role, is_answer=True)
        *chain, last = self.models
        for model in chain:
            try:
                return await span.call(model, request, spec)
            except ModelError as error:
                if span.committed:
                    raise
                span.note(notes.Fallback(str(error), model.name))
        return await span.call(last, request, spec)
