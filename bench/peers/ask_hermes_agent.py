"""Runs Hermes: a preset of its provider `moa`, one agent without tools for each client, streamed by callback."""

import json
import os
import tempfile
from pathlib import Path

from adapter import AskSync, First, Task, ask_threads

task = Task.from_argument()
home = tempfile.TemporaryDirectory()
os.environ["HERMES_HOME"] = home.name
preset = {
    "reference_models": [{"provider": "mock", "model": name} for name in task.proposers],
    "aggregator": {"provider": "mock", "model": task.aggregator},
    "fanout": "user_turn",
}
config = {
    "model": {"provider": "moa", "default": "three"},
    "providers": {"mock": {"base_url": task.url, "api_key": "none", "default_model": task.aggregator}},
    "moa": {"default_preset": "three", "presets": {"three": preset}},
}
Path(home.name, "config.yaml").write_text(json.dumps(config))  # JSON is YAML

from run_agent import AIAgent  # noqa: E402  (reads its home at import)


def client() -> AskSync:
    def ask(question: str, first: First) -> str:
        result = agent.run_conversation(question, stream_callback=lambda _: first())
        return str(result["final_response"])

    agent = AIAgent(
        provider="moa",
        model="three",
        enabled_toolsets=[],
        quiet_mode=True,
        skip_memory=True,
        skip_context_files=True,
    )
    return ask


with home:
    ask_threads(task, [client() for _ in range(task.clients)])
