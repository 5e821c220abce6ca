"""Cached answers are free, come from memory or a file, and identical concurrent calls are made once."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import moa
from helpers.command import configured
from helpers.command import moa as command
from helpers.requests import idle
from helpers.upstream import Body, Reply, Upstream
from moa import (
    Cached,
    MemoryCache,
    Message,
    ModelError,
    Request,
    RequestError,
    Response,
    Scripted,
    SQLiteCache,
    Usage,
    WithDefaults,
)
from moa.config.build import Builder
from moa.config.load import Config
from moa.models.openai.model import OpenAI
from moa.notes import Cached as FromCache
from moa.runs.rerun import Changes, Rerun
from moa.wrappers.hedge import Hedged

REQUEST = Request((Message("user", "Which colour?"),))


async def test_the_same_request_is_answered_from_memory_for_nothing() -> None:
    events: list[moa.Event] = []
    model = Scripted("a", "red", usage=Usage(3, 2, 0.5))
    cached = Cached(model)
    assert await moa.generate(cached, REQUEST) == Response("a", "red", Usage(3, 2, 0.5))
    assert await moa.generate(cached, REQUEST, events.append) == Response("a", "red", Usage(cost=0.0))
    assert len(model.requests) == 1
    (note,) = (one for one in events if isinstance(one, moa.Note))
    assert isinstance(note.data, FromCache) and note.data.seconds < 5
    assert note.data == FromCache(3, 2, 0.5, note.data.seconds)


async def test_an_answer_from_memory_is_streamed() -> None:
    cached = Cached(Scripted("a", Response("a", "red", reasoning="hmm")))
    await moa.generate(cached, REQUEST)
    events: list[moa.Event] = []
    await moa.generate(cached, REQUEST, events.append, "answer")
    deltas = [(one.kind, one.text) for one in events if isinstance(one, moa.TextDelta)]
    assert deltas == [("reasoning", "hmm"), ("text", "red")]


OTHERS: dict[str, Callable[[], Request]] = {
    "seed": lambda: replace(REQUEST, seed=1),
    "temperature": lambda: replace(REQUEST, temperature=0.5),
    "max_tokens": lambda: replace(REQUEST, max_tokens=5),
    "stop": lambda: replace(REQUEST, stop=("x",)),
    "extra": lambda: replace(REQUEST, extra={"top_k": 1}),
    "system": lambda: REQUEST.instructed("Be brief."),
    "question": lambda: Request((Message("user", "Which color?"),)),
    "response_format": lambda: replace(REQUEST, response_format={"type": "json_object"}),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
async def test_another_request_is_another_answer(other: Callable[[], Request]) -> None:
    model = Scripted("a", ["red", "blue"])
    cached = Cached(model)
    assert (await moa.generate(cached, REQUEST)).text == "red"
    assert (await moa.generate(cached, other())).text == "blue"


async def test_a_request_that_is_no_json_is_refused() -> None:
    with pytest.raises(RequestError, match="cannot be written as JSON"):
        await moa.generate(Cached(Scripted("a", "red")), replace(REQUEST, extra={"top_k": 2**70}))


async def test_two_models_never_share_a_memory() -> None:
    one = Cached(Scripted("a", "red"))
    assert (await moa.generate(one, REQUEST)).text == "red"
    assert (await moa.generate(replace(one, inner=Scripted("b", "blue")), REQUEST)).text == "blue"
    assert (await moa.generate(Cached(Scripted("c", "green")), REQUEST)).text == "green"


async def test_a_failure_is_not_remembered() -> None:
    cached = Cached(Scripted("a", [ModelError("a: busy"), "red"]))
    with pytest.raises(ModelError):
        await moa.generate(cached, REQUEST)
    assert (await moa.generate(cached, REQUEST)).text == "red"


async def test_the_answer_that_was_not_used_for_longest_is_forgotten_first() -> None:
    model = Scripted("a", lambda request: request.question)
    cached = Cached(model, MemoryCache(size=2))
    for question in "ababcab":
        await moa.generate(cached, Request((Message("user", question),)))
    assert [request.question for request in model.requests] == ["a", "b", "c", "a", "b"]


# --- concurrent calls -------------------------------------------------------------------------------------------------


def start(model: moa.Model, events: list[moa.Event] | None = None) -> asyncio.Task[Response]:
    return asyncio.create_task(moa.generate(model, REQUEST, events.append if events is not None else None))


class Gate:
    """A model that answers when its gate opens, and counts its calls."""

    name = "gate"

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = 0
        self.fails = False

    async def generate(self, request: Request, span: moa.Span) -> Response:
        self.entered += 1
        number = self.entered
        await self.open.wait()
        if self.fails and number == 1:
            raise ModelError("gate: on fire")
        return Response(self.name, f"answer {number}", Usage(3, 2, 0.5))


async def test_identical_concurrent_calls_are_made_and_paid_once() -> None:
    gate = Gate()
    cached = Cached(gate)
    tasks = [start(cached) for _ in range(5)]
    await idle()
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert gate.entered == 1
    assert [answer.text for answer in answers] == ["answer 1"] * 5
    assert sorted(answer.usage.cost or 0.0 for answer in answers) == [0.0, 0.0, 0.0, 0.0, 0.5]


async def test_those_who_wait_for_a_call_have_it_made_again_when_its_caller_leaves() -> None:
    gate = Gate()
    cached = Cached(gate)
    first, *others = (start(cached) for _ in range(3))
    await idle()
    first.cancel()
    await idle()
    gate.open.set()
    assert [answer.text for answer in await asyncio.gather(*others)] == ["answer 2"] * 2
    assert gate.entered == 2 and first.cancelled()


async def test_one_who_waits_may_leave_without_harm_to_the_call() -> None:
    gate = Gate()
    cached = Cached(gate)
    first, second, third = (start(cached) for _ in range(3))
    await idle()
    second.cancel()
    await idle()
    gate.open.set()
    assert [(await task).text for task in (first, third)] == ["answer 1"] * 2


async def test_those_who_wait_for_a_call_that_fails_ask_for_themselves() -> None:
    gate = Gate()
    gate.fails = True
    cached = Cached(gate)
    tasks = [start(cached) for _ in range(3)]
    await idle()
    gate.open.set()
    with pytest.raises(ModelError, match="on fire"):
        await tasks[0]
    assert [(await task).text for task in tasks[1:]] == ["answer 2"] * 2


async def test_the_second_call_of_a_hedge_does_not_wait_for_the_straggler_it_stands_in_for() -> None:
    turns = iter([60.0, 0.0])

    async def says(body: Body) -> str:
        await asyncio.sleep(next(turns))
        return "quick"

    with Upstream({"m": says}) as upstream:
        hedged = Hedged(Cached(OpenAI("m", upstream.url)), after=0.01)
        assert (await moa.generate(hedged, REQUEST)).text == "quick"
        assert (await moa.generate(hedged, REQUEST)).usage == Usage(cost=0.0)
        assert len(upstream.calls) == 2


def test_threads_with_loops_of_their_own_share_a_call() -> None:
    answers: list[str] = []
    with Upstream({"m": Reply("red", delay=0.2)}) as upstream:
        cached = Cached(OpenAI("m", upstream.url))
        threads = [
            threading.Thread(target=lambda: answers.append(asyncio.run(moa.generate(cached, REQUEST)).text))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (answers, len(upstream.calls)) == (["red"] * 4, 1)


# --- in a file --------------------------------------------------------------------------------------------------------

WHOLE: Body = {
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "ré\u0000d 🍒",
                "reasoning_content": "hmm\n",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}
                ],
            },
            "finish_reason": "tool_calls",
            "logprobs": {
                "content": [
                    {
                        "token": "ré",
                        "logprob": -0.1234567890123,
                        "bytes": [114, 195, 169],
                        "top_logprobs": [{"token": "blue", "logprob": -17.25, "bytes": None}],
                    }
                ]
            },
        }
    ],
    "usage": {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}


async def test_an_answer_comes_back_whole_in_another_process(tmp_path: Path) -> None:
    seeded = replace(REQUEST, seed=1)
    with Upstream(
        {"m": Reply(raw=json.dumps(WHOLE).encode(), headers={"Content-Type": "application/json"})}
    ) as upstream:
        model = OpenAI("m", upstream.url, price=moa.costs.prices.Price(1, 2))
        with SQLiteCache(tmp_path / "calls.sqlite") as calls:
            first = await moa.generate(Cached(model, calls), seeded)
        with SQLiteCache(tmp_path / "calls.sqlite") as calls:  # a new connection, like another process
            again = await moa.generate(Cached(model, calls), seeded)
        assert len(upstream.calls) == 1
    assert first.logprobs == WHOLE["choices"][0]["logprobs"] and first.tool_calls and first.reasoning
    assert first.usage == Usage(7, 5, 17e-6, 3, 2)
    assert again == replace(first, usage=Usage(cost=0.0))


def panel_builder(upstream: Upstream, calls: SQLiteCache) -> Builder:
    lab = {"base_url": upstream.url, "attempts": 1, "price": {"input": 1, "output": 1}}
    mixture = {"proposers": [{"model": "lab:a", "samples": 3}, "lab:b"], "aggregator": "lab:big"}
    config = {"default": "moa:panel", "providers": {"lab": lab}, "mixtures": {"panel": mixture}}
    return Builder(Config.model_validate(config), Path(), calls)


SAYS = {"a": "red", "b": "blue", "big": "purple"}


async def test_calls_with_a_seed_are_cached_and_all_calls_on_request(tmp_path: Path) -> None:
    with Upstream(SAYS) as upstream:
        for when, calls in (("seeded", ["b", "big"]), ("all", [])):
            with SQLiteCache(tmp_path / when, when) as known:  # type: ignore[arg-type]
                model = panel_builder(upstream, known).model("moa:panel")
                await moa.generate(model, REQUEST)
                before = len(upstream.calls)
                answer = await moa.generate(model, REQUEST)
                assert [call.model for call in upstream.calls[before:]] == calls
                assert (answer.text, answer.usage.cost == 0.0) == ("purple", when == "all")


async def test_a_run_made_again_asks_anew_whatever_is_remembered(tmp_path: Path) -> None:
    trace = moa.Trace()
    with Upstream(SAYS) as upstream, SQLiteCache(tmp_path, "all") as calls:
        builder = panel_builder(upstream, calls)
        await moa.generate(builder.model("moa:panel"), REQUEST, trace.add)
        for changes, entered in ((Changes(), ["big"]), (Changes(layer=1), ["a", "a", "a", "b", "big"])):
            before = len(upstream.calls)
            await moa.generate(Rerun(builder, trace, changes).model(), REQUEST)
            assert sorted(call.model for call in upstream.calls[before:]) == entered


async def test_temperature_0_says_which_answer_is_wanted_and_other_temperatures_do_not(tmp_path: Path) -> None:
    with Upstream(SAYS) as upstream, SQLiteCache(tmp_path) as calls:
        model = Cached(OpenAI("a", upstream.url), calls)
        for temperature in (0, 0.0, 0.5, 0.5):
            await moa.generate(model, replace(REQUEST, temperature=temperature))
        await moa.generate(WithDefaults(model, temperature=0), REQUEST)
        await moa.generate(Cached(WithDefaults(OpenAI("a", upstream.url), temperature=0), calls), REQUEST)
        assert [call.body["temperature"] for call in upstream.calls] == [0, 0.5, 0.5]


async def test_models_differ_by_url_and_settings(tmp_path: Path) -> None:
    with Upstream({"a": "red"}) as upstream, Upstream({"a": "blue"}) as other, SQLiteCache(tmp_path, "all") as calls:
        models = [
            OpenAI("a", upstream.url),
            OpenAI("a", other.url),
            OpenAI("a", upstream.url, unsupported=("seed",)),
            OpenAI("a", upstream.url, renamed={"max_tokens": "max_completion_tokens"}),
            OpenAI("a", upstream.url, headers={"X-Style": "terse"}),
        ]
        for _ in range(2):
            answers = [await moa.generate(Cached(model, calls), REQUEST) for model in models]
        assert [answer.text for answer in answers] == ["red", "blue", "red", "red", "red"]
        assert (len(upstream.calls), len(other.calls)) == (4, 1)


async def test_a_failure_is_not_kept_in_a_file(tmp_path: Path) -> None:
    says = iter([Reply("on fire", status=500), Reply(raw=b"{}"), "red"])
    with Upstream({"a": lambda _: next(says)}) as upstream, SQLiteCache(tmp_path, "all") as calls:
        model = Cached(OpenAI("a", upstream.url), calls)
        for _ in range(2):
            with pytest.raises(ModelError):
                await moa.generate(model, REQUEST)
        assert [(await moa.generate(model, REQUEST)).text for _ in range(2)] == ["red", "red"]
        assert len(upstream.calls) == 3


async def test_a_file_that_cannot_be_used_is_reported_once_and_stops_no_question(tmp_path: Path) -> None:
    warnings: list[str] = []
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with Upstream(SAYS) as upstream, SQLiteCache(path, "all", tell=warnings.append) as calls:
        model = Cached(OpenAI("a", upstream.url), calls)
        for _ in range(2):
            assert (await moa.generate(model, REQUEST)).text == "red"
        assert len(upstream.calls) == 2
    assert len(warnings) == 1 and "answers are not remembered" in warnings[0] and "is left as it is" in warnings[0]


async def test_a_store_of_runs_is_no_file_of_answers(tmp_path: Path) -> None:
    with moa.Store(tmp_path / "runs.sqlite") as store:
        await moa.generate(Scripted("a", "red"), REQUEST, store.emit)
    with SQLiteCache(tmp_path / "runs.sqlite", tell=lambda _: None) as calls:
        assert calls.find("00") is None and "a database of another program" in str(calls.problem)


async def test_old_answers_and_those_beyond_the_size_are_removed(tmp_path: Path) -> None:
    says = Scripted("a", lambda request: request.question + " x" * 50_000)
    questions = [Request((Message("user", f"{number}"),)) for number in range(30)]
    with SQLiteCache(tmp_path, "all") as calls:
        for question in questions:
            await moa.generate(Cached(says, calls), question)
        assert calls.purge(days=1) == 0
        gone = calls.purge(megabytes=1)
        assert 15 < gone < 30
        await moa.generate(Cached(says, calls), questions[-1])  # the latest are still there
        assert len(says.requests) == 30
        assert calls.purge() == 30 - gone
        await moa.generate(Cached(says, calls), questions[-1])
        assert len(says.requests) == 31


# --- by the command line ----------------------------------------------------------------------------------------------


def models(upstream: Upstream, *words: str, **environment: str) -> list[str]:
    """Run the command and return the called models."""
    before = len(upstream.calls)
    done = command(*words, **environment)
    assert done.returncode == 0, done.stderr
    return sorted(call.model for call in upstream.calls[before:])


def settings(upstream: Upstream, more: str = "") -> None:
    proposers = '[{ model = "lab:a", samples = 2 }, "lab:b"]'
    configured(upstream, f'[mixtures.panel]\nproposers = {proposers}\naggregator = "lab:big"\n{more}')


def test_moa_ask_pays_once_for_what_has_a_seed() -> None:
    with Upstream(SAYS) as upstream:
        settings(upstream)
        assert models(upstream, "ask", "Which?") == ["a", "a", "b", "big"]
        assert models(upstream, "ask", "Which?") == ["b", "big"]
        assert models(upstream, "ask", "Which?", "--seed", "3") == ["a", "a", "b", "big"]
        assert models(upstream, "ask", "Which?", "--seed", "3") == []
        shown = command("runs", "show").stdout
        assert shown.count("cached") == 4
        file = Path("state/moa/calls.sqlite")
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("how", ["cache", "enabled", "store_content", "MOA_STORE"])
def test_nothing_is_cached_where_that_is_configured(how: str) -> None:
    values = {
        "cache": 'cache = "off"',
        "enabled": "enabled = false",
        "store_content": "store_content = false",
        "MOA_STORE": "",
    }[how]
    off = {"MOA_STORE": "off"} if how == "MOA_STORE" else {}
    with Upstream(SAYS) as upstream:
        settings(upstream, f"[store]\n{values}\n")
        for _ in range(2):
            assert models(upstream, "ask", "Which?", **off) == ["a", "a", "b", "big"]
    assert not Path("state/moa/calls.sqlite").exists()


def test_a_rerun_calls_its_models_again() -> None:
    with Upstream(SAYS) as upstream:
        settings(upstream, '[store]\ncache = "all"\n')
        models(upstream, "ask", "Which?")
        assert models(upstream, "ask", "Which?") == []
        assert models(upstream, "runs", "rerun") == ["big"]
        assert models(upstream, "runs", "rerun", "--layer", "1") == ["a", "a", "b", "big"]


def test_purging_runs_removes_remembered_answers_too() -> None:
    with Upstream(SAYS) as upstream:
        settings(upstream, '[store]\ncache = "all"\n')
        models(upstream, "ask", "Which?")
        assert "deleted 1 run and 4 cached answers" in command("runs", "purge", "--all").stderr
        assert models(upstream, "ask", "Which?") == ["a", "a", "b", "big"]


ASKER = """
import asyncio, sys
import moa
from moa.models.openai.model import OpenAI

async def main():
    model = moa.Cached(OpenAI("m", sys.argv[1]), moa.SQLiteCache("calls.sqlite", "all"))
    async def ask(number):
        answer = await moa.generate(model, moa.Request((moa.Message("user", str(number)),)))
        print(answer.text, flush=True)
    for first in range(0, 200, 5):
        await asyncio.gather(*map(ask, range(first, first + 5)))

asyncio.run(main())
"""


def test_two_processes_at_once_share_what_each_has_paid_for() -> None:
    def says(body: Body) -> Reply:
        return Reply(body["messages"][0]["content"], delay=0.005)

    with Upstream(says) as upstream:
        items = [sys.executable, "-c", ASKER, upstream.url]
        processes = [subprocess.Popen(items, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        outputs = [process.communicate()[0].split() for process in processes]
        assert [sorted(map(int, words)) for words in outputs] == [list(range(200))] * 2
        before = len(upstream.calls)
        assert 200 <= before <= 400
        done = subprocess.run(items, stdout=subprocess.PIPE, text=True, check=True)
        assert sorted(map(int, done.stdout.split())) == list(range(200)) and len(upstream.calls) == before
    with closing(sqlite3.connect("calls.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_kill_9_never_has_a_call_paid_twice_whose_answer_was_used() -> None:
    used: set[str] = set()
    kills, limit = 0, 0

    async def says(body: Body) -> str:
        question = str(body["messages"][0]["content"])
        if int(question) >= limit:
            await asyncio.Event().wait()  # the process is killed before it has asked everything
        return question

    with Upstream(says) as upstream:
        while len(used) < 200:
            known, begun = set(used), len(upstream.calls)
            limit = len(known) + 45 if len(known) + 40 < 200 else 200
            items = [sys.executable, "-c", ASKER, upstream.url]
            with subprocess.Popen(items, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout
                for line in process.stdout:
                    used.add(line.strip())
                    if len(used) == len(known) + 40 < 200:
                        process.send_signal(signal.SIGKILL)
                        kills += 1
            assert not known & {call.messages[0]["content"] for call in upstream.calls[begun:]}
    assert kills == 4
