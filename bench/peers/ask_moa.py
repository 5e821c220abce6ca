"""Runs this library: one mixture of a moa.toml, streamed."""

import asyncio
import tempfile
from pathlib import Path

from adapter import First, Task, ask_async
from ours import config

import moa


async def main() -> None:
    task = Task.from_argument()
    with tempfile.TemporaryDirectory() as folder:
        panel = moa.get_model("moa:panel", config(Path(folder), task))

        async def ask(question: str, first: First) -> str:
            text = []
            async with moa.stream(panel, moa.Request((moa.Message("user", question),))) as events:
                async for event in events:
                    match event:
                        case moa.TextDelta(answer=True, text=words):
                            first()
                            text.append(words)
            return "".join(text)

        await ask_async(task, [ask] * task.clients)


asyncio.run(main())
