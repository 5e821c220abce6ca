"""Runs LlamaIndex's pack: one layer. Its workflow is awaited, because its own `run` fails in any setting."""

import asyncio

from adapter import First, Task, ask_async
from llama_index.llms.openai_like import OpenAILike
from llama_index.packs.mixture_of_agents import MixtureOfAgentsPack


async def main() -> None:
    task = Task.from_argument()

    def model(name: str) -> OpenAILike:
        return OpenAILike(model=name, api_base=task.url, api_key="none", is_chat_model=True)

    aggregator, proposers = model(task.aggregator), [model(name) for name in task.proposers]

    async def ask(question: str, first: First) -> str:
        pack = MixtureOfAgentsPack(aggregator, proposers, num_layers=1)  # a workflow runs only once
        return str(await pack._wf.run(query_str=question))

    await ask_async(task, [ask] * task.clients)


asyncio.run(main())
