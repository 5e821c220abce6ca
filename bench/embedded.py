"""Measures the overhead of a mixture on the embedded engine, and the prompt tokens that prefix sharing saves.

The same calls go to a mixture and, from threads, to llama.cpp's own server, in turns: as three samples of one prompt,
and as three roles with different prompts. Then the engine's own count of the prompt tokens that it reads.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import moa
from common import arguments, median, report, run, span
from moa.models.llamacpp import engine, threads
from moa.models.llamacpp.model import LlamaCpp
from moa.models.llamacpp.weights import SMOLLM2, fetch
from moa.types import Message, Request
from moa.wire.chat_completions import request_to_json

SETTINGS = engine.Settings(context=8192, slots=6, threads=None)
MODEL = LlamaCpp(SMOLLM2, "local:smollm2", SETTINGS.context, SETTINGS.slots, SETTINGS.threads)
ROLES = ("You are a careful engineer.", "You teach children and love examples.", "You are brief and sceptical.")


def question(run: str, words: int) -> Request:
    """Return a question whose prefix is in no cache."""
    text = f"{run}: how does one keep a garden? " + "It has old trees, a pond, and clay for soil. " * (words // 10)
    return Request((Message("user", text),), temperature=0.7)


def mixture(shape: str, tokens: int, place: Any = "system") -> moa.Mixture:
    """Return three proposers and an aggregator that each generate exactly `tokens` tokens."""

    def tuned(**more: Any) -> moa.Model:
        return moa.WithDefaults(MODEL, max_tokens=tokens, extra={"ignore_eos": True}, **more)

    proposers = [tuned(seed=n) if shape == "samples" else tuned(seed=n, system=ROLES[n]) for n in range(3)]
    return moa.Mixture((moa.Layer(proposers),), moa.Synthesize(tuned(seed=9), moa.Prompt(references_in=place)))


async def ours(model: moa.Model, request: Request) -> tuple[float, moa.Trace]:
    """Run a mixture; return its duration in seconds and its calls."""
    trace = moa.Trace()
    begun = time.perf_counter()
    await moa.generate(model, request, trace.add)
    return time.perf_counter() - begun, trace


def raw(server: Any, trace: moa.Trace) -> float:
    """Return how many seconds the same calls take without the library."""
    *proposers, last = [
        {**request_to_json(call.start.request, MODEL.name), "cache_prompt": True}
        for call in trace.calls
        if call.start.request
    ]
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(proposers)) as pool:
        list(pool.map(server.handle_chat_completions, proposers))
    server.handle_chat_completions(last)
    return time.perf_counter() - begun


async def speed(shape: str, options: Any, server: Any) -> dict[str, Any]:
    model, own, bare, written = mixture(shape, options.tokens), [], [], 0
    for number in range(options.runs):
        took, trace = await ours(model, question(f"{shape} {number}", options.words))
        own.append(took)
        bare.append(await asyncio.to_thread(raw, server, trace))
        written = sum(call.usage.output_tokens for call in trace.calls if call.usage)
    shares = [100 * theirs / mine for mine, theirs in zip(own, bare, strict=True)]
    return {
        "proposers": f"3 {shape}",
        "tokens": written,
        "ours tokens/s": written / median(own),
        "raw tokens/s": written / median(bare),
        "ours / raw %": median(shares),
        "of the runs %": span(shares),
    }


async def shared(options: Any, loaded: engine.Engine) -> list[dict[str, Any]]:
    """Return the prompt tokens read for six samples of one question, and for six questions of the same length."""

    async def read(questions: list[Request]) -> int:
        before = loaded.tokens_read()
        await asyncio.gather(*(moa.generate(MODEL, replace(one, max_tokens=8)) for one in questions))
        return loaded.tokens_read() - before

    same, words = question("shared", options.words), options.words
    apart = await read([replace(question(f"{n} apart", words), seed=n) for n in range(6)])
    together = await read([replace(same, seed=n) for n in range(6)])
    return [
        {"prompts": "6 questions", "tokens read": apart, "of it %": 100.0},
        {"prompts": "6 samples of one", "tokens read": together, "of it %": 100 * together / apart},
    ]


async def second_turn(options: Any) -> list[dict[str, Any]]:
    """Return the share of the aggregator's prompt that is read in the second turn of a conversation."""
    rows = []
    for place in ("system", "user"):
        model, first = mixture("samples", 32, place), question(f"turns, {place}", options.words)
        answer = await moa.generate(model, first)
        more = (*first.messages, Message("assistant", answer.text), Message("user", "And in winter?"))
        _, trace = await ours(model, replace(first, messages=more))
        usage = trace.calls[-1].usage
        assert usage
        read = usage.input_tokens - usage.cached_tokens
        of_it = 100 * read / usage.input_tokens
        rows.append({"prompts": f"aggregator's, place = {place}", "tokens read": read, "of it %": of_it})
    return rows


async def main() -> None:
    options = arguments(__doc__, tokens=64, words=300)
    path = await threads.result_of(lambda: fetch(SMOLLM2), "fetch")
    loaded, server = engine.load(path, SETTINGS), engine.server(path, SETTINGS)
    server.handle_chat_completions({"messages": [{"role": "user", "content": "a"}], "max_tokens": 1})
    report("embedded", [await speed(shape, options, server) for shape in ("samples", "roles")], options)
    report("prompts read", [*await shared(options, loaded), *await second_turn(options)], options)
    del server


if __name__ == "__main__":
    run(main())
