"""Properties of a model, its optional methods, and the models it contains, with and without wrappers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

import moa
from moa import (
    Cached,
    CallSpec,
    Fallback,
    Layer,
    Limited,
    Limiter,
    Message,
    MissingKey,
    Mixture,
    ModelInfo,
    Request,
    Response,
    Retried,
    Scripted,
    Span,
    Synthesize,
    Vote,
    WithDefaults,
)
from moa.model import Model, Prewarmable, WrapperModel, check, children, find, info, leaves, preconnect, prewarm
from moa.sinks import Tee, headers, tee
from moa.span import CacheUse
from moa.types import PrewarmResult

REQUEST = Request((Message("user", "Why?"),))


@dataclass
class Able:
    """A model with every optional method."""

    name: str = "able"
    info: ModelInfo = ModelInfo("key", 4096, True, "here", "free", lambda usage: 0.5)
    done: list[str] = field(default_factory=list)

    async def generate(self, request: Request, span: Span) -> Response:
        self.done.append(span.cache)
        return Response(self.name, "red")

    def check(self) -> None:
        self.done.append("checked")

    def preconnect(self) -> None:
        self.done.append("connected")

    async def prewarm(self, request: Request) -> PrewarmResult | None:
        self.done.append("prewarmed")
        return PrewarmResult(1, 1, 0.0)


WRAPPERS: dict[str, Callable[[Model], Model]] = {
    "defaults": lambda model: WithDefaults(model, seed=1),
    "cache": Cached,
    "retries": Retried,
    "limit": lambda model: Limited(model, Limiter()),
    "fallback": lambda model: Fallback((model, Scripted("spare", "blue"))),
    "all": lambda model: WithDefaults(Cached(Retried(Limited(model, Limiter()))), seed=1),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
async def test_a_wrapped_model_is_known_and_able_as_without_the_wrapper(wrap: Callable[[Model], Model]) -> None:
    able = Able()
    model = wrap(able)
    known = info(model)
    assert (known.vision, known.host, known.prewarm, known.context_window) == (True, "here", "free", 4096)
    check(model)
    preconnect(model)
    assert await prewarm(model, REQUEST) == PrewarmResult(1, 1, 0.0)
    assert able.done == ["checked", "connected", "prewarmed"]


async def test_of_a_model_that_says_nothing_nothing_is_known_and_nothing_is_done() -> None:
    plain = WrapperModel(Mixture([Layer([Scripted("a", "red")])], Vote()))
    assert info(plain) == ModelInfo()
    preconnect(plain)
    assert find(plain, Prewarmable) is None  # type: ignore[type-abstract]
    assert await prewarm(plain, REQUEST) is None


def test_a_mixture_is_checked_by_its_aggregator() -> None:
    class Keyless(Scripted):
        def check(self) -> None:
            raise MissingKey("no key")

    with pytest.raises(MissingKey):
        check(WrapperModel(Mixture([Layer([Scripted("a", "red")])], Synthesize(Keyless("judge", "red")))))


def test_the_leaves_are_the_single_models_in_their_order() -> None:
    a, b, c, d = (Scripted(name, "red") for name in "abcd")
    inner = Mixture([Layer([WithDefaults(a), Fallback((b, c))])], Vote())
    outer = Mixture([Layer([inner, a])], Synthesize(Retried(d)))
    assert [model.name for model in leaves(outer)] == ["a", "b", "c", "a", "d"]
    assert (children(a), children(Retried(a)), children(inner)) == ((), (a,), inner.layers[0].proposers)


@pytest.mark.parametrize(
    ("above", "own", "used"),
    [
        ("shared", "shared", "shared"),
        ("shared", "private", "private"),
        ("private", "shared", "private"),
        ("private", "refresh", "refresh"),
        ("refresh", "private", "refresh"),
        ("refresh", "shared", "refresh"),
    ],
)
async def test_the_use_of_caches_holds_for_the_calls_below(above: CacheUse, own: CacheUse, used: CacheUse) -> None:
    able = Able()

    class Outer:
        name = "outer"

        async def generate(self, request: Request, span: Span) -> Response:
            span.cache = above
            return await span.call(able, request, CallSpec("proposer", cache=own))

    await moa.generate(Outer(), REQUEST)
    assert able.done == [used]


def test_a_tee_sends_the_headers_of_all_its_sinks() -> None:
    class Traced:
        def __call__(self, event: moa.Event) -> None: ...

        def headers(self, span: str) -> dict[str, str]:
            return {"traceparent": span}

    both = tee(Traced(), tee(print, None))
    assert isinstance(both, Tee) and len(both.sinks) == 2
    assert (headers(both, "1"), headers(print, "1")) == ({"traceparent": "1"}, {})
