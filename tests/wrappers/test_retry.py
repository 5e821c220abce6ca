"""Wrappers: retries and fallbacks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import moa
from helpers.requests import idle, notes, start
from moa import (
    Cached,
    ConfigError,
    Fallback,
    Layer,
    Limited,
    Limiter,
    Message,
    MissingKey,
    Mixture,
    ModelError,
    Request,
    Response,
    Retried,
    Scripted,
    Span,
    Synthesize,
    Usage,
    WithDefaults,
)

pytestmark = pytest.mark.usefixtures("virtual_time")

REQUEST = Request((Message("user", "Which colour?"),))


# --- retries ----------------------------------------------------------------------------------------------------------


def busy(retry_after: float | None = None) -> ModelError:
    return ModelError("a: busy", retryable=True, retry_after=retry_after)


async def test_a_call_that_may_succeed_later_is_retried_after_growing_pauses() -> None:
    events: list[moa.Event] = []
    model = Scripted("a", [busy(), busy(), "red"])
    answer = await moa.generate(Retried(model, attempts=3, pause=0.001), REQUEST, events.append)
    assert answer.text == "red"
    assert notes(events) == [
        ("retry", {"attempt": 1, "wait": 0.001, "error": "a: busy"}),
        ("retry", {"attempt": 2, "wait": 0.002, "error": "a: busy"}),
    ]


async def test_the_pause_is_as_long_as_the_upstream_requests() -> None:
    events: list[moa.Event] = []
    model = Scripted("a", [busy(0.0), busy(0.003), "red"])
    await moa.generate(Retried(model, pause=3600), REQUEST, events.append)
    assert [data["wait"] for _, data in notes(events)] == [0.0, 0.003]


async def test_the_last_attempt_s_error_is_the_error() -> None:
    model = Scripted("a", [busy(), busy(), ModelError("a: still busy", retryable=True), "red"])
    with pytest.raises(ModelError, match="a: still busy"):
        await moa.generate(Retried(model, attempts=3, pause=0), REQUEST)
    assert len(model.requests) == 3


@pytest.mark.parametrize("error", [ModelError("a: no such model"), MissingKey("a: set its key"), ValueError("a bug")])
async def test_errors_that_a_retry_cannot_fix_are_not_retried(error: Exception) -> None:
    model = Scripted("a", [error, "red"])
    with pytest.raises(type(error)):
        await moa.generate(Retried(model, pause=0), REQUEST)
    assert len(model.requests) == 1


@pytest.mark.parametrize("wait", [3600.0, float("inf")])
async def test_a_wait_longer_than_the_patience_is_not_begun(wait: float) -> None:
    model = Scripted("a", [busy(wait), "red"])
    with pytest.raises(ModelError, match="a: busy"):
        await moa.generate(Retried(model), REQUEST)
    assert len(model.requests) == 1


async def test_a_wait_past_the_deadline_is_not_begun() -> None:
    trace = moa.Trace()
    model = Scripted("a", [busy(50.0), "red"])
    layer = Layer((Retried(model), Scripted("b", "blue")), timeout=40)
    answer = await moa.generate(Mixture((layer,), Synthesize(Scripted("j", "green"))), REQUEST, trace.add)
    assert [one.model for one in answer.references] == ["b"]
    assert trace.lost == [moa.Lost("a", 1, "a: busy")]


class Breaks:
    """A model that fails after a few words, and answers the next time."""

    name = "breaks"

    def __init__(self, always: bool = False) -> None:
        self.calls = 0
        self.always = always

    async def generate(self, request: Request, span: Span) -> Response:
        self.calls += 1
        span.text("half an ")
        if self.calls == 1 or self.always:
            raise moa.CutStream("breaks: the stream was cut", retryable=True)
        span.text("answer")
        return Response(self.name, "half an answer")


async def test_an_answer_that_somebody_reads_is_not_begun_again() -> None:
    for words in ("answer", "all"):
        model = Breaks()
        with pytest.raises(moa.CutStream):
            await moa.generate(Retried(model, pause=0), REQUEST, words=words)
        assert model.calls == 1


async def test_an_answer_that_nobody_reads_is_begun_again() -> None:
    model = Breaks()
    assert (await moa.generate(Retried(model, pause=0), REQUEST)).text == "half an answer"


async def test_a_watched_proposal_is_begun_again_and_its_first_words_are_void() -> None:
    trace = moa.Trace()
    mixture = Mixture((Layer((Retried(Breaks(), pause=0),)),), Synthesize(Scripted("j", "green")))
    answer = await moa.generate(mixture, REQUEST, trace.add, "all")
    assert answer.references[0].text == "half an answer"
    assert [node.text for node in trace.calls] == ["half an answer", "green"]


async def test_cancelling_ends_the_pause() -> None:
    model = Scripted("a", [busy(50.0), "red"])
    task = start(Retried(model), "x")
    await idle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (task.cancelled(), len(model.requests)) == (True, 1)


# --- fallback ---------------------------------------------------------------------------------------------------------


async def test_the_first_model_that_answers_is_the_answer_and_the_others_failures_are_noted() -> None:
    events: list[moa.Event] = []
    chain = Fallback([Scripted("a", busy()), Scripted("b", "blue", usage=Usage(1, 2, 0.5)), Scripted("c", "never")])
    answer = await moa.generate(chain, REQUEST, events.append)
    assert answer == Response("b", "blue", Usage(1, 2, 0.5))
    assert notes(events) == [("fallback", {"model": "a", "error": "a: busy"})]


async def test_when_no_model_answers_the_last_one_s_error_is_the_error() -> None:
    with pytest.raises(ModelError, match="b: no"):
        await moa.generate(Fallback((Scripted("a", busy()), Scripted("b", ModelError("b: no")))), REQUEST)


async def test_another_model_steps_in_for_words_that_nobody_read() -> None:
    answer = await moa.generate(Fallback((Breaks(always=True), Scripted("b", "blue"))), REQUEST)
    assert answer.text == "blue"


async def test_no_other_model_steps_in_once_the_answer_is_being_read() -> None:
    last = Scripted("b", "blue")
    with pytest.raises(moa.CutStream):
        await moa.generate(Fallback((Breaks(always=True), last)), REQUEST, words="answer")
    assert last.requests == []


async def test_proposals_that_were_watched_do_not_keep_another_model_from_stepping_in() -> None:
    fails = Mixture((Layer((Scripted("a", "red"),)),), Synthesize(Scripted("j", busy())), "fails")
    answer = await moa.generate(Fallback((fails, Scripted("b", "blue"))), REQUEST, words="all")
    assert answer.text == "blue"


async def test_a_bug_in_the_first_model_is_not_covered_up_by_the_second() -> None:
    with pytest.raises(ZeroDivisionError):
        await moa.generate(Fallback((Scripted("a", lambda _: str(1 // 0)), Scripted("b", "blue"))), REQUEST)


async def test_each_model_of_a_chain_is_called_with_its_own_defaults() -> None:
    last = Scripted("b", "blue")
    await moa.generate(Fallback((Scripted("a", busy()), WithDefaults(last, temperature=0.3))), REQUEST)
    assert last.requests == [replace(REQUEST, temperature=0.3)]


class Keyless(Scripted):
    def check(self) -> None:
        raise MissingKey(f"{self.name}: set its API key")


def test_a_chain_is_ready_when_one_of_its_models_is() -> None:
    keyless, ready = Keyless("a", "red"), Scripted("b", "blue")
    moa.model.check(Fallback((keyless, ready)))
    with pytest.raises(MissingKey, match="a: set its API key"):
        moa.model.check(Fallback((keyless, keyless)))


def test_a_chain_holds_what_each_of_its_models_holds() -> None:
    models = (Scripted("a", "", context_window=4096), Scripted("b", "", context_window=2048), Scripted("c", ""))
    assert moa.model.info(Fallback(models)).context_window == 2048


def test_a_chain_of_nothing_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="a fallback needs at least one model"):
        Fallback(())


def test_what_stands_around_a_model_has_its_name_its_window_and_its_check() -> None:
    keyless = Keyless("a", "red", context_window=77)
    for around in (Limited(keyless, Limiter(1)), Retried(keyless), Cached(keyless)):
        assert (around.name, moa.model.info(around).context_window) == ("a", 77)
        with pytest.raises(MissingKey):
            moa.model.check(around)
