"""Sends the questions to an OpenAI-compatible server, for the peers that are servers."""

from __future__ import annotations

import json

import aiohttp
from adapter import First, Task, ask_async


async def ask_server(task: Task, url: str, model: str, streamed: bool) -> None:
    """Ask `model` at the base URL `url`."""

    async def ask(question: str, first: First) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": question}], "stream": streamed}
        async with session.post(f"{url}/chat/completions", json=body) as reply:
            if reply.status != 200 or not streamed:
                payload = await reply.json(content_type=None)
                return str(payload["choices"][0]["message"]["content"])
            text = []
            async for line in reply.content:
                if not line.startswith(b"data: {"):
                    continue
                for choice in json.loads(line[6:]).get("choices", ()):
                    if words := choice["delta"].get("content"):
                        first()
                        text.append(words)
            return "".join(text)

    unlimited = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=unlimited, timeout=aiohttp.ClientTimeout(total=None)) as session:
        await ask_async(task, [ask] * task.clients)
