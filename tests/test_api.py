"""`moa.ask`, called from various contexts."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import threading

import pytest

import moa
from moa import Request, RequestError, Response, Scripted, Span


async def test_it_answers_in_a_thread_and_where_a_loop_runs() -> None:
    model = Scripted("a", "red")
    texts = [moa.ask(model, "Which colour?").text, (await asyncio.to_thread(moa.ask, model, "Which colour?")).text]
    assert texts == ["red", "red"]


def test_threads_ask_side_by_side() -> None:
    met = asyncio.Event()
    answers: list[str] = []

    class Meets:
        name = "meets"
        here = 0

        async def generate(self, request: Request, span: Span) -> Response:
            self.here += 1
            if self.here == 2:
                met.set()
            await asyncio.wait_for(met.wait(), 10)
            return Response("meets", "red")

    model = Meets()
    threads = [threading.Thread(target=lambda: answers.append(moa.ask(model, "Why?").text)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["red", "red"]


def test_a_model_that_calls_ask_itself_gets_an_error_instead_of_waiting_for_itself() -> None:
    class Asks:
        name = "asks"

        async def generate(self, request: Request, span: Span) -> Response:
            return moa.ask(Scripted("a", "red"), request.messages)

    with pytest.raises(RuntimeError, match=r"await span\.call"):
        moa.ask(Asks(), "Which colour?")


FORKED = """
import multiprocessing, moa
def ask(question):
    return moa.ask(moa.Scripted("a", "red"), question).text
if __name__ == "__main__":
    ask("Which colour?")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map_async(ask, ["Which colour?"]).get(10))
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_process_asks_on_a_loop_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("['red']\n", 0), done.stderr


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("seed", "7", "seed must be a whole number, not '7'"),
        ("seed", 2**70, "seed must be from"),
        ("max_tokens", 1.5, "max_tokens must be a whole number, not 1.5"),
        ("temperature", True, "temperature must be a number, not True"),
    ],
)
def test_an_option_that_is_no_such_number_is_refused(option: str, value: object, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        moa.ask(Scripted("a", "red"), "Which colour?", **{option: value})  # type: ignore[arg-type]
