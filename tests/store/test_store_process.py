"""Runs that `moa ask` and `moa serve` store, as processes, also when they are killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from helpers.command import MOA, configured, moa, until
from helpers.server import Served
from helpers.upstream import Reply, Upstream
from moa import SpanEnd, Store, TextDelta
from moa.server.serve import store_runs
from moa.store.migrations import connected

SAYS = {"a": "red", "b": "blue", "big": "purple it is"}
STATE = Path("state/moa/runs.sqlite")


def test_a_question_is_stored_with_all_messages() -> None:
    with Upstream(SAYS) as upstream:
        configured(upstream)
        done = moa("ask", "--json", "Which colour?")
    output = json.loads(done.stdout)
    (run,) = Store(STATE.absolute()).runs()
    assert (run.id, run.question, run.state, run.calls) == (output["run"], "Which colour?", "answered", 3)
    ends = [event.text for event in Store(STATE.absolute()).events("last") if isinstance(event, SpanEnd) and event.text]
    assert ends == ["red", "blue", "purple it is", "purple it is"] or ends[:2] == ["blue", "red"]


def test_a_question_that_fails_and_a_chat_are_kept_too() -> None:
    with Upstream({**SAYS, "big": Reply(status=500, text="on fire")}) as upstream:
        configured(upstream, '[mixtures.bare]\nproposers = ["lab:a"]\naggregator = "lab:big"\nguard = false\n')
        assert moa("ask", "-m", "bare", "Which colour?").returncode == 1
        assert moa("chat", "-m", "lab:a", stdin="one\ntwo\n").returncode == 0
    runs = Store(STATE.absolute()).runs()
    assert [(run.model, run.question, run.state) for run in runs] == [
        ("lab:a", "two", "answered"),
        ("lab:a", "one", "answered"),
        ("moa:bare", "Which colour?", "failed"),
    ]


@pytest.mark.parametrize("off", ["MOA_STORE", "moa.toml"])
def test_nothing_is_kept_where_the_store_is_off(off: str) -> None:
    with Upstream(SAYS) as upstream:
        configured(upstream, "[store]\nenabled = false\n" if off == "moa.toml" else "")
        done = moa("ask", "Which colour?", **({"MOA_STORE": "off"} if off == "MOA_STORE" else {}))
    assert done.stdout == "purple it is\n" and not STATE.exists()


def test_the_environment_and_the_settings_say_where_it_is_and_what_is_kept() -> None:
    with Upstream(SAYS) as upstream:
        configured(upstream, '[store]\npath = "mine.sqlite"\nstore_content = false\n')
        moa("ask", "Which colour?")
        moa("ask", "Which colour?", MOA_STORE="other.sqlite")
    assert not STATE.exists()
    for name in ("mine.sqlite", "other.sqlite"):
        (run,) = Store(Path(name).absolute()).runs()
        assert (run.state, run.question) == ("answered", None)


@pytest.mark.parametrize("trouble", ["newer", "damaged", "in the way", "no such home"])
def test_a_store_that_cannot_be_written_stops_no_question(trouble: str) -> None:
    path = Path("it.sqlite")
    if trouble == "newer":
        with closing(connected(path)) as db:
            db.execute("PRAGMA user_version = 99")
    else:
        path.write_text("no database", "utf-8")
    named = {"in the way": "it.sqlite/runs.sqlite", "no such home": "~nobody-here/runs.sqlite"}.get(
        trouble, "it.sqlite"
    )
    before = path.read_bytes()
    with Upstream(SAYS) as upstream:
        configured(upstream)
        done = moa("ask", "Which colour?", MOA_STORE=named)
    assert (done.returncode, done.stdout) == (0, "purple it is\n")
    assert "moa: this run is not stored: " in done.stderr and named.partition("/")[0] in done.stderr
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_run_whose_process_was_killed_is_there_up_to_its_last_event() -> None:
    words = " ".join(f"word{number}" for number in range(2000))
    store = Store(STATE.absolute())

    def stored_text() -> str:
        return "".join(event.text for event in store.events("last") if isinstance(event, TextDelta) and event.answer)

    with Upstream({**SAYS, "big": Reply(words, pace=0.01)}) as upstream:
        configured(upstream)
        moa("ask", "-m", "lab:a", "First?")
        process = subprocess.Popen([*MOA, "ask", "Which colour?"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: len(store.runs()) == 2 and "word20" in stored_text())
        assert store.find("last").state == "running"
        process.send_signal(signal.SIGKILL)
        process.wait()
        again = moa("ask", "-m", "lab:a", "Third?")
    assert again.returncode == 0
    third, killed, first = store.runs()
    assert (third.state, killed.state, first.state) == ("answered", "unfinished", "answered")
    text = "".join(event.text for event in store.events(killed.id) if isinstance(event, TextDelta) and event.answer)
    assert "word20" in text and words.startswith(text)


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on Unix")
def test_a_run_that_was_interrupted_is_kept_as_stopped() -> None:
    with Upstream({**SAYS, "a": Reply("never", delay=1000)}) as upstream:
        configured(upstream)
        process = subprocess.Popen([*MOA, "ask", "Which colour?"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: upstream.to("a"))
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert [run.state for run in Store(STATE.absolute()).runs()] == ["stopped"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_what_had_ended_is_there_after_a_server_was_killed() -> None:
    store = Store(STATE.absolute())
    with Upstream({"a": "red", "b": Reply("blue " * 4000, pace=0.05), "big": "purple it is"}) as upstream:
        configured(upstream, '[mixtures.quick]\nproposers = ["lab:a"]\naggregator = "lab:big"\n')
        for _ in range(3):
            server = subprocess.Popen([*MOA, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True)
            assert server.stderr
            url = server.stderr.readline().split()[2]
            slow = [start_run(url) for _ in range(10)]
            ended = [complete_run(url) for _ in range(10)]
            there = {**dict.fromkeys(slow, "running"), **dict.fromkeys(ended, "answered")}
            until(lambda there=there: there.items() <= states(store).items())
            server.send_signal(signal.SIGKILL)
            server.wait()
            server.stderr.close()
            there |= dict.fromkeys(slow, "unfinished")
            assert there.items() <= states(store).items()
    with closing(sqlite3.connect(store.path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def states(store: Store) -> dict[str, str]:
    """Return the state of each run, or nothing if there is no store yet."""
    return {run.id: run.state for run in store.runs()} if store.path.exists() else {}


def post(url: str, path: str, body: Any) -> Any:
    data = json.dumps(body).encode()
    with urlopen(Request(f"{url}{path}", data, {"Content-Type": "application/json"})) as reply:
        return json.load(reply)


def start_run(url: str) -> str:
    """Start a long run and return its id."""
    return str(post(url, "/api/runs", {"model": "moa:panel", "prompt": "Which colour?"})["run_id"])


def complete_run(url: str) -> str:
    """Send a question and return the id of its finished run."""
    values = {"model": "moa:quick", "messages": [{"role": "user", "content": "Which colour?"}]}
    return str(post(url, "/v1/chat/completions", values)["moa"]["run_id"])


def test_a_server_keeps_the_runs_of_all_its_clients() -> None:
    with Upstream({**SAYS, "judge": "purple it is"}) as upstream, Served(upstream=upstream) as served:
        with store_runs(served.service):
            reply = served.post(
                "/v1/chat/completions", {"model": "moa:duo", "messages": [{"role": "user", "content": "?"}]}
            )
            streamed = served.post(
                "/v1/messages",
                {"model": "moa:duo", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "??"}]},
            )
        assert (reply.status, streamed.status) == (200, 200)
    runs = Store(STATE.absolute()).runs()
    assert [(run.model, run.question, run.state) for run in runs] == [
        ("moa:duo", "??", "answered"),
        ("moa:duo", "?", "answered"),
    ]
    assert runs[1].id == reply.json["moa"]["run_id"]
