"""A mock upstream whose models are their delays: `d1.0-w64-p0.01` waits 1.0 s, then says 64 words, one every 0.01 s.

It runs in a process of its own, prints its base URL, and keeps account of how late it was itself: a measurement during
which the mock was late says nothing about the program measured.
"""

from __future__ import annotations

import asyncio
import json
import re

from aiohttp import web

late = 0.0


async def until(due: float) -> None:
    """Wait for a moment of the loop's clock, and remember by how much it was missed."""
    global late
    loop = asyncio.get_running_loop()
    while (left := due - loop.time()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(left)
    late = max(late, loop.time() - due)


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


async def chat(request: web.Request) -> web.StreamResponse:
    arrived = asyncio.get_running_loop().time()
    body = await request.json()
    told = {key: float(value) for key, value in re.findall(r"([dwp])([\d.]+)", body["model"])}
    first, words, pace = arrived + told.get("d", 0), int(told.get("w", 8)), told.get("p", 0)
    usage = {"prompt_tokens": 10, "completion_tokens": words, "total_tokens": 10 + words}
    if not body.get("stream"):
        await until(first + pace * words)
        message = {"role": "assistant", "content": "word " * words}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await until(first)
    await response.prepare(request)
    for place in range(words):
        await until(first + pace * place)
        await response.write(event({"content": "word "}))
    await response.write(event({}, "stop") + b'data: {"choices": [], "usage": ' + json.dumps(usage).encode() + b"}\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


async def lateness(request: web.Request) -> web.Response:
    global late
    seconds, late = late, 0.0
    return web.json_response({"seconds": seconds})


async def main() -> None:
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/late", lateness)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
