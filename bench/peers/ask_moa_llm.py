"""Runs moa-llm: a mixture from a configuration, one for each client, because it keeps the messages."""

import asyncio
import os

from adapter import AskAsync, First, Task, ask_async

os.environ.update(PROVIDER_API_KEY="none", LOG_RESULTS="false")

from moa_llm import create_moa_from_config  # reads the environment at import


def client(task: Task) -> AskAsync:
    async def ask(question: str, first: First) -> str:
        answer = await moa.process(question)
        return str(answer["content"])

    moa = create_moa_from_config(
        {
            "base_url": task.url,
            "proposal_layers": [{"neurons": [{"model": name} for name in task.proposers]}],
            "aggregation_layer": {"model": task.aggregator, "system_prompt": "Merge these answers: {responses}"},
        }
    )
    return ask


async def main() -> None:
    task = Task.from_argument()
    await ask_async(task, [client(task) for _ in range(task.clients)])


asyncio.run(main())
