"""A mock upstream whose models' names define their behaviour (names.py). Prints its base URL.

The n-th call of a name always gets the same reply. It runs in its own process and records how late its writes are, so
that measurements with a late mock can be discarded.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import heapq
import json
import os
import random
import re
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from names import FAULTS, MARK, parse

SLOW = 10
GARBAGE = (b"<html>busy</html>", b'{"choices": 3}', b"\xff\xfe", b"")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Reply(NamedTuple):
    """A reply: piece n is due `start + n * pace` seconds after the request."""

    start: float
    pace: float
    pieces: tuple[bytes, ...]
    end: str = "kept"
    """The connection after the last piece: "kept", "closed", or "open" (the call never ends)."""


@cache
def plan(name: str, streamed: bool, fault: str, kind: int = 0, written: int = 0, most: int | None = None) -> Reply:
    """Return the reply to a call.

    `kind` selects the garbage, `written` is the number of words so far, `most` the maximum of further ones.
    """
    model = parse(name)
    start = model.first * (SLOW if fault == "slow" else 1)
    match fault:
        case "429":
            return Reply(start, 0, (_reply(b'{"error": {"message": "slow down"}}', "429", "Retry-After: 0.05\r\n"),))
        case "500":
            return Reply(start, 0, (_reply(b'{"error": {"message": "oops"}}', "500"),))
        case "garbage":
            return Reply(start, 0, (_reply(GARBAGE[kind]),))
    words = [*(f"word{place} " for place in range(model.words - 1)), MARK][written:] or [MARK]
    finish = "stop" if most is None or len(words) <= most else "length"
    words = words[:most]
    usage = {"prompt_tokens": 10, "completion_tokens": len(words), "total_tokens": 10 + len(words)}
    if streamed:
        pieces = [_event({"content": word}) for word in words]
        pieces[0] = _HEAD + pieces[0]
        last = _event({}, finish) + _chunk(b'{"choices": [], "usage": %b}' % json.dumps(usage).encode())
        pieces.append(last + _chunk(b"[DONE]") + b"0\r\n\r\n")
    else:
        start += len(words) * model.pace
        choice = {"index": 0, "message": {"role": "assistant", "content": "".join(words)}, "finish_reason": finish}
        body = {"id": "1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
        pieces = [_reply(json.dumps(body).encode())]
        if fault in ("cut", "stall"):
            pieces = [pieces[0][: len(pieces[0]) // 2], b""]
    if fault in ("cut", "stall"):
        return Reply(start, model.pace, tuple(pieces[: len(pieces) // 2]), "closed" if fault == "cut" else "open")
    return Reply(start, model.pace, tuple(pieces))


def _reply(body: bytes, status: str = "200", header: str = "") -> bytes:
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status} OK\r\n{length}{header}\r\n".encode() + body


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return _chunk(json.dumps(body).encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)


class Clock:
    """Runs callbacks at absolute monotonic times. The event loop's own timers have a resolution of 1 ms."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        self._timer: int | None = None
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None)
            self._timer = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            loop.add_reader(self._timer, self._fired)

    def at(self, due: float, call: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (due, self._count, call))
        if self._due[0][1] == self._count:
            self._set(due)

    def _set(self, due: float) -> None:
        if self._timer is None:
            self._loop.call_at(due, self._fired)
            return
        whole, part = divmod(int(due * 1e9) + 1, 1_000_000_000)
        value = (ctypes.c_long * 4)(0, 0, whole, part)
        self._libc.timerfd_settime(self._timer, 1, value, None)  # 1: absolute time

    def _fired(self) -> None:
        if self._timer is not None:
            os.read(self._timer, 8)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            due, _, call = heapq.heappop(self._due)
            call(due)
        if self._due:
            self._set(self._due[0][0])


class Account:
    """Statistics of the calls and of late writes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.clock = Clock(loop)
        self.faults: Counter[str] = Counter()
        self.late = array("d")
        self.open = 0
        self.left_at = 0.0
        self._calls: Counter[str] = Counter()

    def plan(self, name: str, request: dict[str, Any]) -> Reply:
        """Return the reply to the next call of a model name."""
        model = parse(name)
        number = self._calls[name] = self._calls[name] + 1
        dice = random.Random(f"{name}/{number}")
        wrong = number % model.every == 0 if model.fails is None else dice.random() < model.fails
        fault = (model.fault if model.fault or model.fails is None else dice.choice(FAULTS)) if wrong else ""
        self.faults[fault or "none"] += 1
        kind = number % len(GARBAGE) if fault == "garbage" else 0
        written = sum(
            len(one["content"].split()) for one in request["messages"] if one["role"] == "assistant" and model.steps
        )
        most = request.get("max_tokens") if model.steps else None
        return plan(name, bool(request.get("stream")), fault, kind, written, most)

    def get(self, path: bytes) -> bytes:
        if path == b"/late":
            late, self.late = sorted(self.late), array("d")
            most, p99 = (late[-1], late[int(len(late) * 0.99)]) if late else (0.0, 0.0)
            return json.dumps({"most": most, "p99": p99, "pieces": len(late)}).encode()
        return json.dumps({"faults": self.faults, "open": self.open, "left_at": self.left_at}).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 for one endpoint: POST with a Content-Length, on a kept connection."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._transport: asyncio.Transport
        self._buffer = b""
        self._plan: Reply | None = None
        self._place = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        arrived = time.monotonic()
        data = self._buffer + data
        body = data.find(b"\r\n\r\n") + 4
        found = LENGTH.search(data, 0, body)
        end = body + (int(found[1]) if found else 0)
        if body < 4 or len(data) < end:
            self._buffer = data
            return
        self._buffer = data[end:]
        path = data.split(b" ", 2)[1]
        if path in (b"/late", b"/state"):
            self._transport.write(_reply(self._account.get(path)))
            return
        if not path.endswith(b"/chat/completions"):  # some clients probe the server first
            self._transport.write(_reply(b"{}", "404"))
            return
        payload = json.loads(data[body:end])
        self._plan, self._place = self._account.plan(payload["model"], payload), 0
        self._account.open += 1
        self._account.clock.at(arrived + self._plan.start, self._write)

    def _write(self, due: float) -> None:
        if self._plan is None:
            return
        _, pace, pieces, end = self._plan
        self._account.late.append(time.monotonic() - due)
        if self._place < len(pieces):
            self._transport.write(pieces[self._place] if pace else b"".join(pieces))
            self._place = self._place + 1 if pace else len(pieces)
        if self._place < len(pieces):
            self._account.clock.at(due + pace, self._write)
        elif end != "open":
            self._plan = None
            self._account.open -= 1
            if end == "closed":
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._plan:
            self._plan = None
            self._account.open -= 1
            self._account.left_at = time.monotonic()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    account = Account(loop)
    server = await loop.create_server(lambda: Connection(account), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    gc.disable()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, help="the core to run on")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    try:
        from uvloop import new_event_loop
    except ImportError:
        from asyncio import new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
