"""An OpenAI-compatible upstream on loopback that records every call and replies as configured for each model.

It is a real HTTP server in its own thread, for the library, the command line and real clients.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Body = dict[str, Any]


@dataclass
class Call:
    """One call as received. Times are from `time.perf_counter`; `ended` is when it was over."""

    body: Body
    headers: Mapping[str, str]
    started: float
    ended: float | None = None
    dropped: bool = False  # the client disconnected before the reply was complete
    caller: tuple[str, int] = ("", 0)  # client address: the same for calls on one connection

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def messages(self) -> list[Body]:
        return list(self.body["messages"])

    @property
    def system(self) -> str:
        return "\n".join(m["content"] for m in self.messages if m["role"] == "system")


@dataclass(frozen=True)
class Reply:
    """A reply. `text` makes a valid one; the other fields change or break it."""

    text: str = ""
    status: int = 200
    raw: bytes | None = None  # sent instead of a valid body
    stream: Sequence[bytes] | AsyncIterable[bytes] | None = None  # packets sent instead of a valid event stream
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before the first byte
    pace: float = 0.0  # seconds between streamed words
    cut_after: int | None = None  # close the connection after this many streamed words
    usage: bool = True
    finish_reason: str = "stop"
    message: Body | None = None  # the whole message object, instead of text


Answer = str | Reply
Says = Answer | Callable[[Body], Answer | Awaitable[Answer]]


class OneByOne:
    """A stream of words, each of which is held back until `seen` is called for the one before, from any thread."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._seen = threading.Semaphore(0)
        self.seen = self._seen.release

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for word in self._words:
            yield event(chunk({"content": word}))
            assert await asyncio.to_thread(self._seen.acquire, timeout=30), f"{word!r} was not seen"
        yield event(chunk({}, "stop")) + b"data: [DONE]\n\n"


class Held:
    """A reply that is held back until `release` is called, from any thread."""

    def __init__(self, reply: Answer) -> None:
        self.reply = reply
        self._released = threading.Event()
        self.release = self._released.set

    async def __call__(self, body: Body) -> Answer:
        assert await asyncio.to_thread(self._released.wait, 30), "nothing released the reply"
        return self.reply


class Upstream:
    """`with Upstream({"a": "red", "b": Reply(status=500)}) as upstream`. Other models get status 404."""

    def __init__(self, says: Mapping[str, Says] | Callable[[Body], Answer | Awaitable[Answer]]) -> None:
        self.says = says
        self.calls: list[Call] = []
        self.url = ""
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="upstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._opened.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def to(self, model: str) -> list[Call]:
        """Return the calls to one model, in the order of arrival."""
        return [call for call in self.calls if call.model == model]

    async def _serve(self) -> None:
        """Serve until `_end` is set, then close every connection."""
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        try:
            await runner.setup()
            listener = socket.create_server(("127.0.0.1", 0))
            await web.SockSite(runner, listener).start()
        except BaseException as error:
            self._opened.set_exception(error)
            raise
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._opened.set_result(None)
        await self._end.wait()
        await stop_accepting(listener)
        server = runner.server
        assert server is not None
        transports = {one.transport for one in server.connections}
        await runner.cleanup()
        while running := asyncio.all_tasks() - {asyncio.current_task()}:  # connections accepted during the cleanup, too
            transports |= {one.transport for one in server.connections}
            for transport in transports - {None}:
                transport.abort()  # a transport with unsent data would outlive the loop
            await asyncio.wait(running, timeout=0.01)
        for transport in transports - {None}:
            transport.abort()
        await asyncio.sleep(0)

    async def _models(self, request: web.Request) -> web.Response:
        known = self.says if isinstance(self.says, Mapping) else {}
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in known]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert request.transport is not None
        caller = request.transport.get_extra_info("peername")
        call = Call(body, dict(request.headers), time.perf_counter(), caller=caller)
        self.calls.append(call)
        try:
            return await self._reply(request, body)
        except (asyncio.CancelledError, ConnectionError):
            call.dropped = True
            raise
        finally:
            call.ended = time.perf_counter()

    async def _reply(self, request: web.Request, body: Body) -> web.StreamResponse:
        says = (
            self.says if callable(self.says) else self.says.get(body["model"], Reply(status=404, text="no such model"))
        )
        outcome = says(body) if callable(says) else says
        if isinstance(outcome, Awaitable):
            outcome = await outcome
        reply = Reply(outcome) if isinstance(outcome, str) else outcome
        await asyncio.sleep(reply.delay)
        if reply.raw is not None:
            return web.Response(body=reply.raw, status=reply.status, headers=reply.headers)
        if reply.status != 200:
            error = {"error": {"message": reply.text, "type": "error", "param": None, "code": None}}
            return web.json_response(error, status=reply.status, headers=reply.headers)
        if body.get("stream"):
            return await self._stream(request, body, reply)
        message = reply.message or {"role": "assistant", "content": reply.text}
        whole: Body = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        }
        if reply.usage:
            whole["usage"] = usage(body, reply.text)
        return web.json_response(whole, headers=reply.headers)

    async def _stream(self, request: web.Request, body: Body, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **reply.headers})
        await response.prepare(request)
        packets = reply.stream if reply.stream is not None else list(events(body, reply))
        place = -1
        async for packet in packets if isinstance(packets, AsyncIterable) else _each(packets):
            place += 1
            if reply.cut_after is not None and place > reply.cut_after:
                assert request.transport is not None
                request.transport.close()
                return response
            await response.write(packet)
            await asyncio.sleep(reply.pace)
        await response.write_eof()
        return response


async def stop_accepting(listener: socket.socket) -> None:
    """Prepare to close a server. `asyncio` leaks a connection that is accepted while its server closes."""
    asyncio.get_running_loop().remove_reader(listener)
    await asyncio.sleep(0)  # lets a new connection get its transport


@asynccontextmanager
async def listening(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve connections with `answer` and yield the URL. All are closed at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answer(reader, writer)
        finally:
            writer.transport.abort()

    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(connected, sock=listener)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        await stop_accepting(listener)
        server.close()
        for _ in range(4):  # connects the transport, creates its task, starts it
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _each(packets: Sequence[bytes]) -> AsyncIterator[bytes]:
    for packet in packets:
        yield packet


def usage(body: Body, text: str) -> Body:
    """Return a usage with one token per word."""
    prompt_words = sum(len(str(message["content"]).split()) for message in body["messages"])
    answered = len(text.split())
    return {"prompt_tokens": prompt_words, "completion_tokens": answered, "total_tokens": prompt_words + answered}


def event(body: Any) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def chunk(delta: Body, finish_reason: str | None = None) -> Body:
    """Return one chunk of a streamed chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def events(body: Body, reply: Reply) -> list[bytes]:
    """Return a valid stream: the role, one chunk per word, the finish reason, the usage if requested, and [DONE]."""
    words = reply.text.split(" ")
    texts = [word if place == len(words) - 1 else word + " " for place, word in enumerate(words)]
    packets = [event(chunk({"role": "assistant", "content": ""})), *(event(chunk({"content": text})) for text in texts)]
    packets.append(event(chunk({}, reply.finish_reason)))
    if reply.usage and (body.get("stream_options") or {}).get("include_usage"):
        packets.append(event({**chunk({}), "choices": [], "usage": usage(body, reply.text)}))
    return [*packets, b"data: [DONE]\n\n"]
