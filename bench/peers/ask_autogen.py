"""Runs AutoGen: workers and an orchestrator that exchange messages, the pattern of its documentation."""

import asyncio
from dataclasses import dataclass
from functools import partial

from adapter import First, Task, ask_async
from autogen_core import AgentId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime, message_handler
from autogen_core.models import ModelFamily, UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient


@dataclass
class Question:
    text: str
    number: int


@dataclass
class Reply:
    text: str


def model(task: Task, name: str) -> OpenAIChatCompletionClient:
    info = {"vision": False, "function_calling": False, "json_output": False, "structured_output": False}
    info["family"] = ModelFamily.UNKNOWN
    return OpenAIChatCompletionClient(model=name, base_url=task.url, api_key="none", model_info=info)


class Worker(RoutedAgent):
    def __init__(self, client: OpenAIChatCompletionClient) -> None:
        super().__init__("worker")
        self.client = client

    @message_handler
    async def propose(self, message: Question, ctx: MessageContext) -> Reply:
        text = await self.client.create([UserMessage(content=message.text, source="user")])
        return Reply(str(text.content))


class Orchestrator(RoutedAgent):
    def __init__(self, client: OpenAIChatCompletionClient, workers: int, first: dict[int, First]) -> None:
        super().__init__("orchestrator")
        self.client, self.workers, self.first = client, workers, first

    @message_handler
    async def answer(self, message: Question, ctx: MessageContext) -> Reply:
        names = [AgentId(f"worker{number}", self.id.key) for number in range(self.workers)]
        replies = await asyncio.gather(*(self.send_message(message, name) for name in names))
        text = f"Merge these answers to {message.text}\n" + "\n".join(reply.text for reply in replies)
        async for part in self.client.create_stream([UserMessage(content=text, source="user")]):
            if not isinstance(part, str):
                return Reply(str(part.content))
            self.first[message.number]()
        raise RuntimeError("the stream ended without a result")


async def main() -> None:
    task = Task.from_argument()
    callbacks: dict[int, First] = {}
    runtime = SingleThreadedAgentRuntime()
    for number, name in enumerate(task.proposers):
        await Worker.register(runtime, f"worker{number}", partial(Worker, model(task, name)))
    aggregator = model(task, task.aggregator)
    await Orchestrator.register(
        runtime, "orchestrator", partial(Orchestrator, aggregator, len(task.proposers), callbacks)
    )
    runtime.start()

    async def ask(question: str, first: First) -> str:
        callbacks[number := len(callbacks)] = first
        reply = await runtime.send_message(Question(question, number), AgentId("orchestrator", f"chat{number}"))
        return str(reply.text)

    await ask_async(task, [ask] * task.clients)
    await runtime.stop()


asyncio.run(main())
