"""Calls share the room that llama.cpp has: who waits for whom."""

from __future__ import annotations

import asyncio
import threading

import pytest

from helpers.embedded import MODEL, ask, tokens_read
from moa.events import Event, Note, Role, TextDelta
from moa.models.llamacpp.model import LlamaCpp
from moa.span import CallSpec, Run, Span, generate
from moa.streaming import stream
from moa.types import Request
from moa.wrappers.limiter import MAX_PASSED


@pytest.mark.slow
@pytest.mark.embedded
async def test_answers_that_would_overfill_the_context_wait_for_one_another(small: LlamaCpp) -> None:
    events: list[Event] = []
    answers = await asyncio.gather(
        *(generate(small, ask(f"{n}?", max_tokens=100, extra={"ignore_eos": True}), events.append) for n in range(3))
    )

    assert [answer.usage.output_tokens for answer in answers] == [100, 100, 100]
    assert [event.kind for event in events if isinstance(event, Note)] == ["queued", "queued"]


@pytest.mark.embedded
async def test_a_prompt_of_more_tokens_than_it_seems_to_have_waits_too(small: LlamaCpp) -> None:
    gibberish = "xqzjkvwp" * 14  # about a hundred tokens, where words of this length would be forty
    answers = await asyncio.gather(
        *(generate(small, ask(f"{n}{gibberish}", max_tokens=30, extra={"ignore_eos": True})) for n in "ab")
    )

    assert answers[0].usage.input_tokens > 80
    assert [answer.usage.output_tokens for answer in answers] == [30, 30]


@pytest.mark.embedded
async def test_a_deadline_while_a_long_prompt_is_read_stops_the_reading() -> None:
    before = tokens_read()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await generate(MODEL, ask("Read on. " * 2000))
    await generate(MODEL, ask())

    assert tokens_read() - before < 5000


async def answered(order: list[str], name: str, model: LlamaCpp, request: Request, role: Role = "root") -> None:
    await model.generate(request, Span(Run(), None, CallSpec(role), name))
    order.append(name)


@pytest.mark.slow
@pytest.mark.embedded
async def test_a_small_call_does_not_wait_behind_one_that_finds_no_room_yet(small: LlamaCpp) -> None:
    order: list[str] = []
    async with asyncio.TaskGroup() as calls:
        for name, tokens in (("first", 120), ("large", 150), ("small", 4)):
            request = ask(name, max_tokens=tokens, extra={"ignore_eos": True})
            calls.create_task(answered(order, name, small, request))

    assert order == ["small", "first", "large"]


@pytest.mark.slow
@pytest.mark.embedded
async def test_small_calls_do_not_pass_a_large_one_for_ever(small: LlamaCpp) -> None:
    order: list[str] = []
    few = ask("few", max_tokens=2, extra={"ignore_eos": True})

    async def coming() -> None:
        for number in range(2 * MAX_PASSED):
            await answered(order, f"small {number}", small, few)

    async with asyncio.TaskGroup() as calls:
        for name, tokens in (("first", 150), ("large", 200)):
            request = ask(name, max_tokens=tokens, extra={"ignore_eos": True})
            calls.create_task(answered(order, name, small, request))
        calls.create_task(coming())

    assert order.index("large") <= order.index(f"small {MAX_PASSED}")


@pytest.mark.slow
@pytest.mark.embedded
async def test_an_aggregator_goes_before_proposers_that_came_first(small: LlamaCpp) -> None:
    order: list[str] = []
    async with asyncio.TaskGroup() as calls:
        for name, role in (("first", "root"), ("one", "proposer"), ("two", "proposer"), ("last", "aggregator")):
            request = ask(name, max_tokens=130, extra={"ignore_eos": True})
            calls.create_task(answered(order, name, small, request, role))

    assert order == ["first", "last", "one", "two"]


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.parametrize(("tokens", "sooner"), [(64, 1), (20, 0)], ids=["short", "long"])
async def test_samples_wait_for_one_another_unless_their_question_is_short(
    tokens: int, sooner: int, small: LlamaCpp
) -> None:
    order: list[str] = []
    async with asyncio.TaskGroup() as calls:
        request = ask("first", max_tokens=80, extra={"ignore_eos": True})
        calls.create_task(answered(order, "first", small, request))
        for seed in (1, 2):
            request = ask("few", max_tokens=tokens, seed=seed, extra={"ignore_eos": True})
            calls.create_task(answered(order, f"sample {seed}", small, request))

    assert order.index("first") == sooner


@pytest.mark.slow
@pytest.mark.embedded
async def test_a_cancelled_answer_leaves_its_room_to_the_next(small: LlamaCpp) -> None:
    endless = ask("Count.", max_tokens=250, extra={"ignore_eos": True})
    async with stream(small, endless) as events:
        await anext(event async for event in events if isinstance(event, TextDelta))
    answer = await generate(small, endless)

    assert answer.usage.output_tokens > 200


@pytest.mark.slow
@pytest.mark.embedded
async def test_a_call_cancelled_while_it_waits_never_starts(small: LlamaCpp) -> None:
    first = asyncio.create_task(generate(small, ask("Count.", max_tokens=200, extra={"ignore_eos": True})))
    async with stream(small, ask("Wait.", max_tokens=200)) as events:
        await anext(event async for event in events if isinstance(event, Note))
    before = tokens_read(small)
    await first

    assert tokens_read(small) - before < 40


@pytest.mark.embedded
def test_several_event_loops_share_one_engine() -> None:
    texts: list[str] = []

    def own_loop() -> None:
        texts.append(asyncio.run(generate(MODEL, ask())).text)

    others = [threading.Thread(target=own_loop) for _ in range(2)]
    for thread in others:
        thread.start()
    own_loop()
    for thread in others:
        thread.join()

    assert len(texts) == 3
    assert all(text.startswith("Hello") for text in texts)
