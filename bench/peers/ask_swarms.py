"""Runs swarms: its MixtureOfAgents with one layer, one for each client; the aggregator streams through a callback."""

import os

from adapter import AskSync, First, Task, ask_threads

os.environ.update(SWARMS_TELEMETRY_ON="false", LITELLM_LOCAL_MODEL_COST_MAP="true")

from swarms import Agent, MixtureOfAgents  # reads the environment at import


def client(task: Task) -> AskSync:
    def agent(name: str, model: str, **more: object) -> Agent:
        return Agent(
            agent_name=name,
            model_name=f"openai/{model}",
            llm_base_url=task.url,
            llm_api_key="none",
            max_loops=1,
            print_on=False,
            **more,
        )

    callbacks: list[First] = []
    mixture = MixtureOfAgents(
        agents=[agent(f"proposer {number}", model) for number, model in enumerate(task.proposers)],
        aggregator_agent=agent("aggregator", task.aggregator, streaming_callback=lambda _: callbacks[-1]()),
        layers=1,
    )

    def ask(question: str, first: First) -> str:
        callbacks.append(first)
        return str(mixture.run(question))

    return ask


task = Task.from_argument()
ask_threads(task, [client(task) for _ in range(task.clients)])
