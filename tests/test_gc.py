"""A finished run is freed at once, without the garbage collector, which would pause all runs in progress."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

import moa
from helpers.upstream import Upstream
from moa import Layer, Message, Mixture, Request, Scripted, Synthesize
from moa.models.openai.model import OpenAI
from moa.server.service import Spending

REQUEST = Request((Message("user", "Which colour?"),))


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def mixture(aggregator: moa.Model) -> Mixture:
    return Mixture((Layer((Scripted("a", "red"), Scripted("b", "blue"))),), Synthesize(aggregator))


async def completed_run(model: moa.Model) -> weakref.ref[moa.span.Run]:
    """Return a reference to a run that was read to its end."""
    async with moa.stream(model, REQUEST, emit=Spending().add) as events:
        text = "".join([one.text async for one in events if isinstance(one, moa.TextDelta) and one.answer])
    assert text == events.response.text
    return weakref.ref(events.run)


async def abandoned_run(model: moa.Model) -> weakref.ref[moa.span.Run]:
    """Return a reference to a run that was read only to its first event."""
    async with moa.stream(model, REQUEST) as events:
        await anext(events)
    return weakref.ref(events.run)


@pytest.mark.usefixtures("uncollected")
async def test_a_run_is_freed_when_it_is_over() -> None:
    assert (await completed_run(mixture(Scripted("c", "violet"))))() is None


@pytest.mark.usefixtures("uncollected")
async def test_a_run_over_http_is_freed_when_it_is_over() -> None:
    with Upstream({"m": "violet it is"}) as upstream:
        await completed_run(OpenAI("m", upstream.url))  # opens the connection
        assert (await completed_run(mixture(OpenAI("m", upstream.url))))() is None


@pytest.mark.usefixtures("uncollected")
async def test_a_run_that_nobody_reads_is_freed_too() -> None:
    assert (await abandoned_run(mixture(Scripted("c", "violet", delay=5.0))))() is None


class Failing:
    """A model that always fails, each time with a new error."""

    name = "failing"

    async def generate(self, request: Request, span: moa.Span) -> moa.Response:
        raise moa.ModelError("no answer")


@pytest.mark.usefixtures("uncollected")
async def test_a_run_with_a_failed_proposal_is_freed_when_it_is_over() -> None:
    layer = Layer((Scripted("a", "red"), Failing()))
    assert (await completed_run(Mixture((layer,), Synthesize(Scripted("c", "violet")))))() is None


def test_an_event_loop_is_freed_when_it_is_over() -> None:
    async def ask(url: str) -> weakref.ref[asyncio.AbstractEventLoop]:
        await completed_run(OpenAI("m", url))
        return weakref.ref(asyncio.get_running_loop())

    with Upstream({"m": "violet it is"}) as upstream:
        loop = asyncio.run(ask(upstream.url))
    gc.collect()
    assert loop() is None
