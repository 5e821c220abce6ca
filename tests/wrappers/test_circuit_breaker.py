"""A model that keeps failing is not called for a while, and the error says why."""

from __future__ import annotations

import asyncio

import pytest

import moa
from moa import Layer, Message, Mixture, ModelError, Request, Retried, Scripted, Synthesize
from moa.wrappers.circuit_breaker import BreakerState, CircuitBreaker

pytestmark = pytest.mark.usefixtures("virtual_time")

REQUEST = Request((Message("user", "Which colour?"),))
FAILS = ModelError("m: HTTP 503: busy", model="m", retryable=True)


def reason(caught: pytest.ExceptionInfo[ModelError]) -> str:
    return str(caught.value)


async def test_after_failures_in_a_row_it_is_not_called_and_the_last_reason_is_given() -> None:
    model = Scripted("m", FAILS)
    broken = CircuitBreaker(model, BreakerState(failures=2))
    for _ in range(2):
        with pytest.raises(ModelError, match="HTTP 503: busy"):
            await moa.generate(broken, REQUEST)
    with pytest.raises(ModelError) as caught:
        await moa.generate(broken, REQUEST)
    assert reason(caught) == "m: circuit open after 2 consecutive failures; next attempt in 30 s: HTTP 503: busy"
    assert (len(model.requests), broken.breaker.state) == (2, "open")


async def test_after_the_rest_one_call_decides() -> None:
    breaker = BreakerState(failures=1, cooldown=0.01)
    broken = CircuitBreaker(Scripted("m", [FAILS, FAILS, "red"]), breaker)
    for state in ("open", "open"):
        with pytest.raises(ModelError):
            await moa.generate(broken, REQUEST)
        assert breaker.state == state
        await asyncio.sleep(0.02)
    assert (await moa.generate(broken, REQUEST)).text == "red"
    assert breaker.state == "closed"


async def test_samples_that_fail_together_are_called_again() -> None:
    model = Scripted("m", [*[FAILS] * 6, "red"], delay=0.01)
    sample = Retried(CircuitBreaker(model, BreakerState(failures=5)), pause=0.01)
    mixture = Mixture((Layer([sample] * 6, quorum=6),), Synthesize(Scripted("big", "violet")))
    answer = await moa.generate(mixture, REQUEST)
    assert [reference.text for reference in answer.references] == ["red"] * 6


async def test_a_prompt_that_is_refused_does_not_count() -> None:
    refused = ModelError("m: HTTP 400: no", model="m")
    broken = CircuitBreaker(Scripted("m", refused), BreakerState(failures=1))
    for _ in range(3):
        with pytest.raises(ModelError, match="HTTP 400"):
            await moa.generate(broken, REQUEST)
    assert broken.breaker.state == "closed"
