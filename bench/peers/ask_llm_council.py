"""Runs llm-council-core: three members, a peer review of each answer, a chairman."""

import asyncio
import json
import os
import tempfile
from pathlib import Path

from adapter import First, Task, ask_async

task = Task.from_argument()
config = {
    "council": {
        "council": {"models": list(task.proposers), "chairman": task.aggregator},
        "gateways": {"providers": {"openrouter": {"base_url": f"{task.url}/chat/completions"}}},
        "cache": {"enabled": False},
    }
}
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "llm_council.yaml")
    path.write_text(json.dumps(config))  # JSON is YAML
    os.environ.update(LLM_COUNCIL_CONFIG=str(path), OPENROUTER_API_KEY="none", LLM_COUNCIL_TELEMETRY="off")
    from llm_council import run_full_council  # reads its configuration at import


async def ask(question: str, first: First) -> str:
    _, _, answer, _ = await run_full_council(question, bypass_cache=True)
    return str(answer["response"])


asyncio.run(ask_async(task, [ask] * task.clients))
