"""The contract: a model turns a request into a response; `ModelInfo` is what is known of it before it is called.

This file knows nothing of mixtures, of HTTP or of screens. Calls go through `Span.call`, see `span.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

from .types import PrewarmResult, Request, Response, Usage

if TYPE_CHECKING:
    from .span import Span

T = TypeVar("T")

Prewarming = Literal["free", "paid", "off"]
"""Whether a model keeps the prompts it has read (a prefix cache) and may read a prompt before its call: at no cost, or
for the price of the tokens."""


class Model(Protocol):
    """Anything that answers: one language model, a model around a model, or a whole mixture.

    A model may have an attribute `info` (`ModelInfo`), and the methods of `Checkable`, `Preconnectable` and
    `Prewarmable`.
    """

    @property
    def name(self) -> str: ...

    async def generate(self, request: Request, span: Span) -> Response:
        """Answer the request. Raises `ModelError` when there is no answer; an error is never an answer."""
        ...


def _unpriced(usage: Usage) -> float | None:
    return None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model before it is called.

    `cache_key` is what decides its answers besides the request and its name: models alike in both give the same
    answers. `context_window` is in tokens, `None` if unknown. `vision` says that it accepts images. Models of one
    `host` slow each other down. `cost` returns the price of tokens in US dollars, `None` if unknown.
    """

    cache_key: str = ""
    context_window: int | None = None
    vision: bool = False
    host: str | None = None
    prewarm: Prewarming = "off"
    cost: Callable[[Usage], float | None] = _unpriced


_UNKNOWN = ModelInfo()


def info(model: Model) -> ModelInfo:
    """Return what is known of a model, its attribute `info`."""
    known: ModelInfo = getattr(model, "info", _UNKNOWN)
    return known


@runtime_checkable
class Checkable(Protocol):
    """A model that can tell before a call whether it can be called."""

    def check(self) -> None:
        """Raise what would stop any call, such as a missing key."""


@runtime_checkable
class Preconnectable(Protocol):
    """A model that can open its connection before a call."""

    def preconnect(self) -> None:
        """Open a connection in the background. Failures are ignored here; the call itself will report them."""


@runtime_checkable
class Prewarmable(Protocol):
    """A model that can read the beginning of a prompt before its call."""

    async def prewarm(self, request: Request) -> PrewarmResult | None:
        """Read a prompt into the prefix cache. `None` if the model was busy. Raises `ModelError`."""


@runtime_checkable
class Composite(Protocol):
    """A model made of models."""

    @property
    def children(self) -> tuple[Model, ...]:
        """The models it calls."""
        ...


def find(model: Model, kind: type[T]) -> T | None:
    """Return the first model down the chain of wrappers that is of this kind, a class or a protocol."""
    while True:
        if issubclass(type(model), kind):  # unlike `isinstance`, this is cached for protocols
            return model  # type: ignore[return-value]
        if not isinstance(model, WrapperModel):
            return None
        model = model.inner


def check(model: Model) -> None:
    """Raise what would stop any call to this model."""
    checkable = find(model, Checkable)  # type: ignore[type-abstract]
    if checkable:
        checkable.check()


def preconnect(model: Model) -> None:
    """Have the model open its connection in the background, if it can."""
    preconnectable = find(model, Preconnectable)  # type: ignore[type-abstract]
    if preconnectable:
        preconnectable.preconnect()


async def prewarm(model: Model, request: Request) -> PrewarmResult | None:
    """Have the model read the beginning of a prompt. `None` if it cannot, or was busy. Raises `ModelError`."""
    prewarmable = find(model, Prewarmable)  # type: ignore[type-abstract]
    return await prewarmable.prewarm(request) if prewarmable else None


def children(model: Model) -> tuple[Model, ...]:
    """Return the models that a model calls, empty for a single model."""
    below: tuple[Model, ...] = getattr(model, "children", ())  # `isinstance` of a protocol takes as long as a call
    return below


def leaves(model: Model) -> Iterator[Model]:
    """Yield the single models that a model is made of."""
    below = children(model)
    yield from chain.from_iterable(map(leaves, below)) if below else (model,)


def smallest_window(model: Model) -> int:
    """Return the smallest known context window of the single models, in tokens, or a common size if none is known."""
    return min((window for leaf in leaves(model) if (window := info(leaf).context_window)), default=32_768)


def accepts_images(model: Model) -> bool:
    """Return whether any of the single models accepts images."""
    return any(info(leaf).vision for leaf in leaves(model))


@dataclass(frozen=True)
class WrapperModel:
    """A model around a model."""

    inner: Model

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def info(self) -> ModelInfo:
        """What is known of the inner model."""
        return info(self.inner)

    @property
    def children(self) -> tuple[Model, ...]:
        """The inner model."""
        return (self.inner,)


@dataclass(frozen=True)
class WithDefaults(WrapperModel):
    """A model with its own defaults: an instruction (its role), sampling options, a seed.

    Values of the request are kept; its open options are filled in. The instruction goes after the caller's system
    message. With a `seed` of its own, sample n of a request with seed s is asked with seed s + n.
    """

    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, request: Request) -> Request:
        """Return the request with the defaults filled in."""
        applied = replace(
            request,
            temperature=self.temperature if request.temperature is None else request.temperature,
            top_p=self.top_p if request.top_p is None else request.top_p,
            max_tokens=self.max_tokens if request.max_tokens is None else request.max_tokens,
            seed=request.seed if self.seed is None else self.seed + (request.seed or 0),
            stop=request.stop or self.stop,
            extra={**self.extra, **request.extra},
        )
        return applied.instructed(self.system) if self.system else applied

    async def generate(self, request: Request, span: Span) -> Response:
        return await self.inner.generate(self.apply(request), span)


def unwrap_defaults(model: Model, request: Request) -> tuple[Model, Request]:
    """Return the model beneath its defaults, and the request with them filled in."""
    while isinstance(model, WithDefaults):
        request, model = model.apply(request), model.inner
    return model, request
