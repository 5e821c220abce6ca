"""llama.cpp in this process: real answers of a real, small model."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moa.aggregators import Synthesize
from moa.errors import BadReply, ConfigError, ContextOverflow, ModelError
from moa.events import Delta, Event, Note, Role
from moa.layer import Layer
from moa.mixture import Mixture
from moa.model import Run, Span, Tuned, generate, stream, warm
from moa.models import engine, weights
from moa.models.llamacpp import LlamaCpp
from moa.models.samples import Call, Samples, samples
from moa.models.weights import SMOLLM2
from moa.prompts import Place, Prompt
from moa.trace import Trace
from moa.turns import PATIENCE
from moa.types import Message, Request, Response

MODEL = LlamaCpp(SMOLLM2, "local:smollm2")
LONG = "How does one bake a good bread? " + "Think about it. " * 60
SMALL = engine.Settings(context=256, slots=2, threads=None)


def ask(text: str = "Say hello.", **options: Any) -> Request:
    return Request((Message("user", text),), **{"max_tokens": 8, "temperature": 0, **options})


def the_engine(model: LlamaCpp = MODEL) -> engine.Engine:
    file = model.file if isinstance(model.file, Path) else weights.fetch(model.file)
    return engine.load(file, engine.Settings(model.context, model.slots, model.threads))


def tokens_read(model: LlamaCpp = MODEL) -> int:
    return the_engine(model).tokens_read()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> LlamaCpp:
    """The same model with little room: 256 tokens, two answers side by side."""
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    shutil.copyfile(weights.fetch(SMOLLM2), path)
    return LlamaCpp(path, "small", context=SMALL.context, slots=SMALL.slots)


# --- one answer ------------------------------------------------------------------------------------------------------


@pytest.mark.embedded
async def test_an_answer_has_its_words_its_tokens_and_costs_nothing() -> None:
    answer = await generate(MODEL, ask(max_tokens=5))

    assert answer.model == "local:smollm2"
    assert answer.text.startswith("Hello")
    assert (answer.usage.output_tokens, answer.usage.cost, answer.finish_reason) == (5, 0.0, "length")
    assert answer.usage.input_tokens > 5


@pytest.mark.embedded
async def test_the_words_are_heard_one_by_one_where_somebody_listens() -> None:
    async with stream(MODEL, ask()) as events:
        words = [event.text async for event in events if isinstance(event, Delta)]

    assert len(words) > 3
    assert "".join(words) == events.response.text


@pytest.mark.embedded
async def test_nobody_listening_hears_no_words_and_gets_the_same_answer() -> None:
    heard: list[Event] = []
    answer = await generate(MODEL, ask(), heard.append)
    async with stream(MODEL, ask()) as events:
        async for _ in events:
            pass

    assert [event for event in heard if isinstance(event, Delta)] == []
    assert answer.text == events.response.text


@pytest.mark.embedded
async def test_a_developer_message_is_read_as_a_system_message() -> None:
    answers = [
        await generate(MODEL, Request((Message(role, "Speak like a pirate."), Message("user", "Hi")), max_tokens=8))
        for role in ("system", "developer")
    ]

    assert answers[1].usage.input_tokens == answers[0].usage.input_tokens


@pytest.mark.embedded
async def test_parts_of_text_are_read_as_their_text() -> None:
    parts = Message("user", ({"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}))

    assert (await generate(MODEL, Request((parts,), max_tokens=8, temperature=0))).text == (
        await generate(MODEL, ask())
    ).text


@pytest.mark.embedded
async def test_options_only_llama_cpp_knows_reach_it() -> None:
    answer = await generate(MODEL, ask(extra={"grammar": 'root ::= "seven"'}))

    assert (answer.text, answer.finish_reason) == ("seven", "stop")


@pytest.mark.embedded
async def test_a_response_format_holds_the_answer_to_its_schema() -> None:
    schema = {"type": "object", "properties": {"sky": {"const": "blue"}}, "required": ["sky"]}
    answer = await generate(
        MODEL,
        ask(max_tokens=40, response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}),
    )

    assert json.loads(answer.text) == {"sky": "blue"}


@pytest.mark.embedded
async def test_an_empty_stop_string_stops_nothing() -> None:
    assert (await generate(MODEL, ask(stop=("",)))).text == (await generate(MODEL, ask())).text


@pytest.mark.embedded
async def test_an_answer_without_a_limit_ends_at_its_share_of_the_context(small: LlamaCpp) -> None:
    answer = await generate(small, ask(max_tokens=None, extra={"ignore_eos": True}))

    assert (answer.usage.output_tokens, answer.finish_reason) == (256 // 3, "length")


# --- samples of one question -----------------------------------------------------------------------------------------


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


@pytest.mark.embedded
@pytest.mark.parametrize(("place", "read_again"), [("end", False), ("system", True)])
async def test_earlier_turns_stay_read_where_references_come_after_them(place: Place, read_again: bool) -> None:
    chat = Mixture(
        (Layer([Tuned(MODEL, seed=n, max_tokens=8) for n in (1, 2)]),),
        Synthesize(MODEL, Prompt("Use these notes.", place)),
    )
    first, trace = ask(f"In {place}. {LONG}", temperature=0.5), Trace()
    answer = await generate(chat, first)
    said = (*first.messages, Message("assistant", answer.text), Message("user", "And then?"))
    await generate(chat, replace(first, messages=said), trace.add)

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
        await anext(event async for event in events if isinstance(event, Delta))
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
    heard: list[tuple[int | None, object]] = []
    calls = [call({}, seed, heard) for seed in (1, 2)]
    group = Samples(calls)
    usage = {"prompt_tokens": 30, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}}
    for index, finish in ((0, None), (1, None), (1, "stop")):
        group.hear({"choices": [{"index": index, "delta": {}, "finish_reason": finish}]})
    group.hear({"choices": [], "usage": usage})
    group.close(None)

    assert heard == [
        (1, {"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}),
        (2, {"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}),
        (2, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        (2, {"usage": {**usage, "prompt_tokens_details": {"cached_tokens": 30}}}),
        (2, None),
        (1, None),
    ]


def call(body: dict[str, Any], seed: int | None, heard: list[tuple[int | None, object]] | None = None) -> Call:
    told = [] if heard is None else heard
    return Call(
        body,
        seed,
        prompt_tokens=50,
        max_tokens=50,
        take=lambda chunk: told.append((seed, chunk)),
        end=lambda error: told.append((seed, error)),
        queued=lambda: None,
    )


def seeds(calls: Sequence[Call]) -> list[int | None]:
    return [call.seed for call in calls]


# --- reading ahead ---------------------------------------------------------------------------------------------------


@pytest.mark.embedded
async def test_a_prompt_read_ahead_is_found_read_by_its_call() -> None:
    await generate(MODEL, ask())
    warmed = await warm(MODEL, ask(f"Ahead. {LONG} And then?"))
    answer = await generate(MODEL, ask(f"Ahead. {LONG} And at last?"))

    assert warmed
    assert warmed.read
    assert warmed.tokens >= warmed.read > 200
    assert answer.usage.cached_tokens > answer.usage.input_tokens - 20


@pytest.mark.embedded
async def test_what_was_read_already_is_not_read_ahead_again() -> None:
    await generate(MODEL, ask(f"Twice. {LONG}"))
    warmed = await warm(MODEL, ask(f"Twice. {LONG}"))

    assert warmed
    assert (warmed.read, warmed.cost) == (1, 0.0)  # llama.cpp always reads the last token


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


@pytest.mark.embedded
async def test_reading_ahead_that_nobody_wants_any_more_stops() -> None:
    await generate(MODEL, ask())
    prompt = ask(f"Unwanted. {LONG * 6}")
    reading = asyncio.create_task(warm(MODEL, prompt))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    answer = await generate(MODEL, prompt)

    assert answer.usage.cached_tokens < answer.usage.input_tokens / 2


@pytest.mark.embedded
async def test_nothing_is_read_ahead_while_an_answer_is_written() -> None:
    async with stream(MODEL, ask("Count.", max_tokens=500, extra={"ignore_eos": True})) as events:
        await anext(event async for event in events if isinstance(event, Delta))
        assert await warm(MODEL, ask(LONG)) is None


def test_nothing_is_fetched_to_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOA_CACHE", str(tmp_path))
    assert asyncio.run(warm(LlamaCpp(SMOLLM2, "m"), ask())) is None
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_not_there_is_not_read_ahead_with(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.gguf"):
        await warm(LlamaCpp(tmp_path / "gone.gguf", "m"), ask())


@pytest.mark.embedded
async def test_a_prompt_beyond_the_context_is_not_read_ahead(small: LlamaCpp) -> None:
    await generate(small, ask())
    with pytest.raises(ContextOverflow, match=r"small: the prompt has \d+ tokens"):
        await warm(small, ask("word " * 600))


# --- many at once ----------------------------------------------------------------------------------------------------


@pytest.mark.embedded
async def test_answers_that_would_overfill_the_context_wait_for_one_another(small: LlamaCpp) -> None:
    heard: list[Event] = []
    answers = await asyncio.gather(
        *(generate(small, ask(f"{n}?", max_tokens=100, extra={"ignore_eos": True}), heard.append) for n in range(3))
    )

    assert [answer.usage.output_tokens for answer in answers] == [100, 100, 100]
    assert [event.kind for event in heard if isinstance(event, Note)] == ["queued", "queued"]


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
    await model.generate(request, Span(Run(), None, role, name))
    order.append(name)


@pytest.mark.embedded
async def test_a_small_call_does_not_wait_behind_one_that_finds_no_room_yet(small: LlamaCpp) -> None:
    order: list[str] = []
    async with asyncio.TaskGroup() as calls:
        for name, tokens in (("first", 120), ("large", 150), ("small", 4)):
            request = ask(name, max_tokens=tokens, extra={"ignore_eos": True})
            calls.create_task(answered(order, name, small, request))

    assert order == ["small", "first", "large"]


@pytest.mark.embedded
async def test_small_calls_do_not_pass_a_large_one_for_ever(small: LlamaCpp) -> None:
    order: list[str] = []
    few = ask("few", max_tokens=2, extra={"ignore_eos": True})

    async def coming() -> None:
        for number in range(2 * PATIENCE):
            await answered(order, f"small {number}", small, few)

    async with asyncio.TaskGroup() as calls:
        for name, tokens in (("first", 150), ("large", 200)):
            request = ask(name, max_tokens=tokens, extra={"ignore_eos": True})
            calls.create_task(answered(order, name, small, request))
        calls.create_task(coming())

    assert order.index("large") <= order.index(f"small {PATIENCE}")


@pytest.mark.embedded
async def test_an_aggregator_goes_before_proposers_that_came_first(small: LlamaCpp) -> None:
    order: list[str] = []
    async with asyncio.TaskGroup() as calls:
        for name, role in (("first", "root"), ("one", "proposer"), ("two", "proposer"), ("last", "aggregator")):
            request = ask(name, max_tokens=130, extra={"ignore_eos": True})
            calls.create_task(answered(order, name, small, request, role))

    assert order == ["first", "last", "one", "two"]


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


@pytest.mark.embedded
async def test_a_cancelled_answer_leaves_its_room_to_the_next(small: LlamaCpp) -> None:
    endless = ask("Count.", max_tokens=250, extra={"ignore_eos": True})
    async with stream(small, endless) as events:
        await anext(event async for event in events if isinstance(event, Delta))
    answer = await generate(small, endless)

    assert answer.usage.output_tokens > 200


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


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.embedded
async def test_a_prompt_beyond_the_context_says_how_long_it_is(small: LlamaCpp) -> None:
    with pytest.raises(
        ContextOverflow, match=r"small: the prompt has \d+ tokens and the context window 256; "
    ) as failure:
        await generate(small, ask("word " * 600))

    assert (failure.value.window, failure.value.model) == (256, "small")


@pytest.mark.embedded
async def test_an_answer_of_white_space_is_no_answer() -> None:
    with pytest.raises(BadReply, match="empty"):
        await generate(MODEL, ask(extra={"grammar": 'root ::= " "'}))


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extra": {"min_p": "much"}}, "min_p"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "no"}}}}, "JSON schema error"),
    ],
)
async def test_an_option_llama_cpp_cannot_read_fails_the_call_in_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as failure:
        await generate(MODEL, ask(**options))

    assert "\n" not in str(failure.value)
    assert failure.value.model == "local:smollm2"


async def test_a_missing_file_is_named_by_the_check_and_by_the_call(tmp_path: Path) -> None:
    model = LlamaCpp(tmp_path / "gone.gguf", "m")

    with pytest.raises(ModelError, match=r"gone\.gguf: No such file"):
        model.check()
    with pytest.raises(ModelError, match=r"gone\.gguf: No such file"):
        await generate(model, ask())


def test_a_file_that_is_no_gguf_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<html>")

    with pytest.raises(ModelError, match=r"page\.gguf is not a GGUF file"):
        LlamaCpp(tmp_path / "page.gguf", "m").check()


async def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "half.gguf").write_bytes(b"GGUF" + os.urandom(10_000))

    with pytest.raises(ModelError, match=r"half\.gguf: llama\.cpp cannot load it; .*get it again, or name another"):
        await generate(LlamaCpp(tmp_path / "half.gguf", "m"), ask())


@pytest.mark.embedded
async def test_one_file_is_not_loaded_with_two_settings() -> None:
    await generate(MODEL, ask())

    with pytest.raises(ConfigError, match="same settings"):
        await generate(LlamaCpp(SMOLLM2, "other", context=1024), ask())


# --- the end of the program ------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, os, sys, threading
from moa.events import Delta
from moa.model import generate, stream, warm
from moa.models import engine, weights
from moa.models.llamacpp import LlamaCpp
from moa.types import Message, Request

model = LlamaCpp(weights.SMOLLM2, "m")
endless = Request((Message("user", "Count."),), max_tokens=8000, extra={"ignore_eos": True})
short = Request((Message("user", "Say hello."),), max_tokens=4, temperature=0)

async def watch(until=None):
    async with stream(model, endless) as events:
        async for event in events:
            if isinstance(event, Delta) and until:
                until()
"""

ENDINGS = {
    "after loading the file to read ahead": 'asyncio.run(warm(model, short)).read and print("end")',
    "right after loading": 'engine.load(weights.fetch(weights.SMOLLM2), engine.Settings(256, 2, None))\nprint("end")',
    "after an answer": 'asyncio.run(generate(model, short))\nprint("end")',
    "while another thread is answered": """
begun = threading.Event()
threading.Thread(target=lambda: asyncio.run(watch(begun.set)), daemon=True).start()
begun.wait()
print("end")""",
    "by an error": """
begun = threading.Event()
threading.Thread(target=lambda: asyncio.run(watch(begun.set)), daemon=True).start()
begun.wait()
print("end")
sys.exit(0)""",
    "while a prompt is read ahead": """
begun = threading.Event()
async def read():
    reading = asyncio.create_task(warm(model, Request((Message("user", "Read on. " * 2000),))))
    await asyncio.sleep(0)
    begun.set()
    await reading
asyncio.run(generate(model, short))
threading.Thread(target=lambda: asyncio.run(read()), daemon=True).start()
begun.wait()
print("end")""",
    "while the model is loaded": """
async def hurry():
    loading = asyncio.create_task(generate(model, short))
    await asyncio.sleep(0)
    loading.cancel()
asyncio.run(hurry())
print("end")""",
}


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + program], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.embedded
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_program_ends_cleanly_and_llama_cpp_says_nothing(ending: str) -> None:
    weights.fetch(SMOLLM2)
    ended = run(ENDINGS[ending])

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "end\n", "")


@pytest.mark.embedded
def test_an_interrupt_ends_a_running_answer() -> None:
    weights.fetch(SMOLLM2)
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + 'asyncio.run(watch(lambda: print("begun", flush=True)))'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout
    assert program.stdout.readline() == "begun\n"
    program.send_signal(signal.SIGINT)
    _, complaint = program.communicate(timeout=120)

    assert program.returncode == -signal.SIGINT
    assert complaint.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.embedded
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_is_told_to_be_spawned() -> None:
    ended = run("""
asyncio.run(generate(model, short))
child = os.fork()
if not child:
    try:
        asyncio.run(generate(model, short))
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)""")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "forked" in ended.stdout


@pytest.mark.embedded
def test_llama_cpp_speaks_when_it_is_asked_to() -> None:
    ended = run('os.environ["MOA_LLAMA_LOG"] = "1"\nasyncio.run(generate(model, short))')

    assert ended.returncode == 0
    assert "llama" in ended.stderr + ended.stdout


def test_without_the_library_the_way_to_get_it_is_named() -> None:
    ended = run("""
sys.modules["xllamacpp"] = None
for call in (model.check, lambda: asyncio.run(generate(LlamaCpp(weights.fetch(weights.SMOLLM2), "m"), short))):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, error)""")

    assert ended.stdout.count("ConfigError") == 2
    assert ended.stdout.count('pip install "mixture-of-agents[local]"') == 2
