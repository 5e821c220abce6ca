"""The process of `moa serve`: start, signals and shutdown."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from helpers.serve import Process, process
from helpers.server import SAYS, TOML
from helpers.upstream import Body, Reply, Upstream
from moa.server.connection import limited

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as on Unix")

ASK = {"model": "moa:duo", "messages": [{"role": "user", "content": "Which colour?"}]}


class HeldAnswer:
    """Holds the judge's answer until it is let go, and says when it has been asked."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go = threading.Event()

    def says(self) -> dict[str, Any]:
        async def held(body: Body) -> Reply:
            self.asked.set()
            await asyncio.to_thread(self.go.wait, 30)
            return Reply("purple it is")

        return {**SAYS, "judge": held}


def test_it_says_where_it_is_and_answers() -> None:
    with Upstream(SAYS) as upstream, process(upstream) as served:
        assert served.line("ready on").endswith("moa:duo")
        assert served.ask("GET", "/readyz")[0] == 200
        status, _, body = served.ask("POST", "/v1/chat/completions", ASK)
        assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "purple it is")
        line = served.line("POST /v1/chat/completions 200")
        assert re.search(r"INFO POST /v1/chat/completions 200 \d+\.\d{3}s run=\w{32} model=moa:duo$", line)
        assert not any("Which colour" in one or "purple" in one for one in served.lines)
        served.send_signal(signal.SIGTERM)
        assert served.code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_running_requests_and_rejects_new_ones(number: signal.Signals) -> None:
    gate, answers = HeldAnswer(), []
    with Upstream(gate.says()) as upstream, process(upstream) as served:
        asking = [
            threading.Thread(target=lambda: answers.append(served.ask("POST", "/v1/chat/completions", ASK)))
            for _ in range(3)
        ]
        run = json.loads(served.ask("POST", "/api/runs", {"prompt": "Which colour?"})[2])["run_id"]
        for thread in asking:
            thread.start()
        gate.asked.wait(30)
        while len(upstream.to("judge")) < 4:
            pass
        served.send_signal(number)
        served.line("shutting down after 4 running")
        status, headers, _ = served.ask("POST", "/v1/chat/completions", ASK)
        assert (status, headers["retry-after"]) == (503, "5")
        assert served.ask("GET", "/readyz")[0] == 503
        assert served.ask("GET", "/healthz")[0] == 200
        assert served.ask("POST", "/api/runs", {"prompt": "Which colour?"})[0] == 503
        assert json.loads(served.ask("GET", f"/api/runs/{run}")[2])["state"] == "running"
        gate.go.set()
        for thread in asking:
            thread.join(30)
        assert served.code() == 0
    result = [(status, json.loads(body)["choices"][0]["message"]["content"]) for status, _, body in answers]
    assert result == [(200, "purple it is")] * 3


def test_a_second_signal_stops_at_once() -> None:
    gate = HeldAnswer()
    with Upstream(gate.says()) as upstream, process(upstream) as served:
        answered: list[int] = []

        def ask() -> None:
            with suppress(OSError, http.client.HTTPException):
                answered.append(served.ask("POST", "/v1/chat/completions", ASK)[0])

        asking = threading.Thread(target=ask)
        asking.start()
        gate.asked.wait(30)
        served.send_signal(signal.SIGTERM)
        served.line("shutting down")
        served.send_signal(signal.SIGTERM)
        assert served.code() == 128 + signal.SIGTERM
        asking.join(30)
        gate.go.set()
    assert 200 not in answered


def test_a_configuration_is_read_again_all_or_nothing() -> None:
    def names(served: Process) -> list[str]:
        result = json.loads(served.ask("GET", "/v1/models")[2])["data"]
        return [one["id"] for one in result if one["id"] in ("moa:duo", "moa:trio")]

    with Upstream(SAYS) as upstream, process(upstream) as served:
        whole = TOML.replace("{url}", upstream.url)
        assert names(served) == ["moa:duo"]
        for broken in ("not toml", whole + '\n[mixtures.trio]\nproposers = ["up:a"]\naggregator = "nope:x"\n'):
            served.lines.clear()
            Path("moa.toml").write_text(broken)
            served.send_signal(signal.SIGHUP)
            served.line("not reloaded, the old one stays in use: moa.toml: ")
            assert names(served) == ["moa:duo"]
        Path("moa.toml").write_text(whole + '\n[mixtures.trio]\nproposers = ["up:a"]\naggregator = "up:judge"\n')
        served.send_signal(signal.SIGHUP)
        served.line("INFO reloaded: ")
        assert names(served) == ["moa:duo", "moa:trio"]


def test_a_reload_does_not_disturb_what_is_running() -> None:
    gate, answers = HeldAnswer(), []
    with Upstream(gate.says()) as upstream, process(upstream) as served:
        asking = threading.Thread(target=lambda: answers.append(served.ask("POST", "/v1/chat/completions", ASK)))
        asking.start()
        gate.asked.wait(30)
        served.send_signal(signal.SIGHUP)
        served.line("INFO reloaded: ")
        gate.go.set()
        asking.join(30)
    assert [status for status, _, _ in answers] == [200]


def failing(*options: str) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "-m", "moa", "serve", *options], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.splitlines()


def test_what_keeps_it_from_beginning_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, lines = failing("--port", str(port))
        assert (code, len(lines)) == (2, 1)
        assert lines[0].startswith(f"moa: 127.0.0.1:{port}: cannot listen: Address already in use")
    for options, words in (
        (("--host", "0.0.0.0", "--port", "0"), "add a key with `moa keys add NAME`"),
        (
            ("--host", "no.such.host.invalid", "--port", "0", "--allow-unauthenticated"),
            "no.such.host.invalid:0: cannot listen",
        ),
        (("--config", "none.toml"), "none.toml: no such file"),
    ):
        code, lines = failing(*options)
        assert (code, len(lines)) == (2, 1)
        assert words in lines[0]


@contextmanager
def listening(app: Any, head: float = 60.0, stall: float = 60.0) -> Iterator[int]:
    """An application on connections with these limits; its port."""
    settings = uvicorn.Config(
        app, http=limited(head, stall), log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as opened:
        thread = threading.Thread(target=server.run, args=([opened],))
        thread.start()
        try:
            yield opened.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_a_client_that_is_slow_with_its_headers_is_not_waited_for(sent: bytes) -> None:
    with listening(nothing, head=0.2) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(sent)
        assert over(client)


def test_between_two_requests_a_client_may_be_slow() -> None:
    with listening(nothing, head=1) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        for pause in (1.2, 0):
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 204")
            time.sleep(pause)


def test_headers_without_an_end_are_not_read_for_ever() -> None:
    with listening(nothing) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        with suppress(ConnectionError):
            for _ in range(2000):
                client.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
        assert over(client)


def test_a_client_that_stops_reading_is_let_go() -> None:
    ended = threading.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.create_task(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)
        ended.set()

    with listening(endless, stall=0.2) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert ended.wait(30)


def over(client: socket.socket) -> bool:
    """Whether the other side ends the connection."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_no_embedded_model_is_loaded_before_its_first_call() -> None:
    with Upstream(SAYS) as upstream, process(upstream) as served:
        assert served.ask("GET", "/readyz")[0] == 200
        maps = Path(f"/proc/{served._process.pid}/maps")
        if maps.exists():
            assert "xllamacpp" not in maps.read_text()


@pytest.mark.parametrize(
    "says", [Reply("red", delay=60), Reply("word " * 5000, pace=0.01)], ids=["proposals", "answer"]
)
def test_when_the_client_goes_away_every_upstream_call_ends(says: Reply) -> None:
    holding = {**SAYS, "judge": says} if says.pace else {"a": says, "b": says, "judge": "purple"}
    body = json.dumps({**ASK, "stream": True}).encode()
    with Upstream(holding) as upstream, process(upstream) as served:
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            while len(upstream.calls) < (3 if says.pace else 2):
                time.sleep(0.005)
        while any(call.ended is None for call in upstream.calls):
            time.sleep(0.005)
        served.send_signal(signal.SIGTERM)
        assert served.code() == 0
    assert sorted(call.model for call in upstream.calls if call.dropped) == (["judge"] if says.pace else ["a", "b"])
