"""llama.cpp reads a prompt once: for samples of one question, for later turns, and ahead of its call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.embedded import LONG, MODEL, ask, prewarm_when_idle, the_engine, tokens_read
from moa.errors import ContextOverflow, ModelError
from moa.events import TextDelta
from moa.mixture.aggregators import Synthesize
from moa.mixture.layer import Layer
from moa.mixture.mixture import Mixture
from moa.model import WithDefaults, prewarm
from moa.models.llamacpp import engine
from moa.models.llamacpp.batching import Call, Samples, samples
from moa.models.llamacpp.model import LlamaCpp
from moa.models.llamacpp.weights import SMOLLM2
from moa.prompts.prompt import Prompt, ReferencesIn
from moa.span import generate
from moa.streaming import stream
from moa.trace.tree import Trace
from moa.types import Message, Request, Response


@pytest.mark.slow
@pytest.mark.embedded
async def test_samples_of_one_question_read_it_once() -> None:
    before = tokens_read()
    answers = await asyncio.gather(*(generate(MODEL, ask(f"Samples. {LONG}", seed=n)) for n in range(6)))
    together = tokens_read() - before
    before = tokens_read()
    await asyncio.gather(*(generate(MODEL, ask(f"{n} apart. {LONG}", seed=n)) for n in range(6)))
    apart = tokens_read() - before

    prompt = answers[0].usage.input_tokens
    assert together <= prompt
    assert apart > 5 * together
    assert [answer.usage.input_tokens for answer in answers] == [prompt] * 6
    assert [answer.usage.cached_tokens for answer in answers[1:]] == [prompt] * 5
    assert [answer.usage.output_tokens for answer in answers] == [8] * 6


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.parametrize(("where", "read_again"), [("user", False), ("system", True)])
async def test_earlier_turns_stay_read_where_references_come_after_them(where: ReferencesIn, read_again: bool) -> None:
    chat = Mixture(
        (Layer([WithDefaults(MODEL, seed=n, max_tokens=8) for n in (1, 2)]),),
        Synthesize(MODEL, Prompt("Use these notes.", where)),
    )
    first, trace = ask(f"In {where}. {LONG}", temperature=0.5), Trace()
    answer = await generate(chat, first)
    text = (*first.messages, Message("assistant", answer.text), Message("user", "And then?"))
    await generate(chat, replace(first, messages=text), trace.add)

    *_, (tokens, cached) = [(u.input_tokens, u.cached_tokens) for call in trace.calls if (u := call.usage)]
    assert (cached < tokens / 2) == read_again


@pytest.mark.embedded
async def test_a_sample_is_what_its_seed_says_alone() -> None:
    def sample(seed: int) -> Request:
        return ask("Say one random word.", seed=seed, temperature=1.5, max_tokens=3)

    await generate(MODEL, sample(99))
    together = await asyncio.gather(*(generate(MODEL, sample(seed)) for seed in (100, 101, 102)))
    alone = [await generate(MODEL, sample(seed)) for seed in (100, 101, 102)]

    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.text for answer in together}) > 1


@pytest.mark.embedded
async def test_without_seeds_samples_differ() -> None:
    request = ask("Say one random word.", temperature=2, max_tokens=12)

    assert len({answer.text for answer in await asyncio.gather(*(generate(MODEL, request) for _ in range(4)))}) > 1


@pytest.mark.embedded
async def test_cancelling_one_sample_leaves_the_others() -> None:
    tasks = [asyncio.create_task(generate(MODEL, ask("Tell a story.", seed=n, max_tokens=40))) for n in range(3)]
    async with stream(MODEL, ask("Tell a story.", seed=3, max_tokens=40)) as events:
        await anext(event async for event in events if isinstance(event, TextDelta))
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(answer) for answer in answers] == [asyncio.CancelledError, Response, Response]


def test_only_the_same_question_with_the_next_seeds_is_answered_together() -> None:
    a, b = {"messages": ["a"]}, {"messages": ["b"]}
    calls = [call(a, 7), call(b, 8), call(a, 9), call(a, 8), call(a, 7), call(a, None)]

    assert seeds(samples(calls[0], calls, slots=6, context=1000)) == [7, 8, 9]
    assert seeds(samples(calls[0], calls, slots=2, context=1000)) == [7, 8]
    assert seeds(samples(calls[0], calls, slots=6, context=130)) == [7]
    assert seeds(samples(calls[1], calls, slots=6, context=1000)) == [8]
    assert seeds(samples(calls[5], calls, slots=6, context=1000)) == [None]


def test_each_sample_is_told_its_own_chunks_and_its_own_usage() -> None:
    items: list[tuple[int | None, object]] = []
    calls = [call({}, seed, items) for seed in (1, 2)]
    group = Samples(calls)
    usage = {"prompt_tokens": 30, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}}
    for index, finish in ((0, None), (1, None), (1, "stop")):
        group.hear({"choices": [{"index": index, "delta": {}, "finish_reason": finish}]})
    group.hear({"choices": [], "usage": usage})
    group.close(None)

    assert items == [
        (1, {"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}),
        (2, {"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}),
        (2, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        (2, {"usage": {**usage, "prompt_tokens_details": {"cached_tokens": 30}}}),
        (2, None),
        (1, None),
    ]


def call(body: dict[str, Any], seed: int | None, chunks: list[tuple[int | None, object]] | None = None) -> Call:
    received = [] if chunks is None else chunks
    return Call(
        body,
        seed,
        prompt_tokens=50,
        max_tokens=50,
        take=lambda chunk: received.append((seed, chunk)),
        end=lambda error: received.append((seed, error)),
        queued=lambda: None,
    )


def seeds(calls: Sequence[Call]) -> list[int | None]:
    return [call.seed for call in calls]


@pytest.mark.embedded
async def test_a_prompt_read_ahead_is_found_read_by_its_call() -> None:
    await generate(MODEL, ask())
    warmed = await prewarm_when_idle(MODEL, ask(f"Ahead. {LONG} And then?"))
    answer = await generate(MODEL, ask(f"Ahead. {LONG} And at last?"))

    assert warmed.read
    assert warmed.tokens >= warmed.read > 200
    assert answer.usage.cached_tokens > answer.usage.input_tokens - 20


@pytest.mark.embedded
async def test_what_was_read_already_is_not_read_ahead_again() -> None:
    await generate(MODEL, ask(f"Twice. {LONG}"))
    warmed = await prewarm_when_idle(MODEL, ask(f"Twice. {LONG}"))

    assert (warmed.read, warmed.cost) == (1, 0.0)  # llama.cpp always reads the last token


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.parametrize("question", ["Of this?", "Or of that?"], ids=["its own", "another"])
async def test_a_call_ends_the_reading_ahead_and_finds_what_was_read(question: str) -> None:
    await generate(MODEL, ask())
    prompt = f"{question} {LONG * 6}"
    batches, half = 0, threading.Event()

    def wanted() -> bool:
        nonlocal batches
        batches += 1
        if batches == 4:
            half.set()
        return True

    body = {"messages": [{"role": "user", "content": prompt}]}
    reading = asyncio.create_task(asyncio.to_thread(the_engine().read_ahead, body, "m", wanted))
    await asyncio.to_thread(half.wait, 60)
    answer = await generate(MODEL, ask(prompt if question == "Of this?" else "Who comes in between?"))
    warmed = await reading
    if question != "Of this?":
        answer = await generate(MODEL, ask(prompt))

    assert warmed
    assert engine.BATCH <= warmed.tokens <= answer.usage.cached_tokens < answer.usage.input_tokens


@pytest.mark.slow
@pytest.mark.embedded
async def test_reading_ahead_that_nobody_wants_any_more_stops() -> None:
    await generate(MODEL, ask())
    prompt = ask(f"Unwanted. {LONG * 6}")
    reading = asyncio.create_task(prewarm(MODEL, prompt))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    answer = await generate(MODEL, prompt)

    assert answer.usage.cached_tokens < answer.usage.input_tokens / 2


@pytest.mark.embedded
async def test_nothing_is_read_ahead_while_an_answer_is_written() -> None:
    async with stream(MODEL, ask("Count.", max_tokens=500, extra={"ignore_eos": True})) as events:
        await anext(event async for event in events if isinstance(event, TextDelta))
        assert await prewarm(MODEL, ask(LONG)) is None


def test_nothing_is_fetched_to_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOA_CACHE", str(tmp_path))
    assert asyncio.run(prewarm(LlamaCpp(SMOLLM2, "m"), ask())) is None
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_not_there_is_not_read_ahead_with(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.gguf"):
        await prewarm(LlamaCpp(tmp_path / "gone.gguf", "m"), ask())


@pytest.mark.embedded
async def test_a_prompt_beyond_the_context_is_not_read_ahead(small: LlamaCpp) -> None:
    await generate(small, ask())
    with pytest.raises(ContextOverflow, match=r"small: the prompt has \d+ tokens"):
        await prewarm_when_idle(small, ask("word " * 600))
