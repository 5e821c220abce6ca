"""LlamaIndex with Ollama models: a mixture in this process, and the same one behind `moa serve`.

It asks the mixtures `ollama-one` (a proposer and an aggregator) and `ollama-two` (two proposers in three layers, and an
aggregator), each in both ways. They need: ollama pull llama3, ollama pull mistral, ollama pull stablelm-zephyr. Without
a running Ollama, the small embedded model replaces all three.

    uv run --extra llamaindex examples/llamaindex_ollama.py
"""

import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llama_index.core.llms import LLM
from llama_index.llms.ollama import Ollama

from moa.integrations.llamaindex import MixtureLLM

QUESTIONS = {
    "ollama-one": "How to reduce anger in Python?",
    "ollama-two": "How to be a good generative AI engineer?",
}

STAND_IN = """
[mixtures.ollama-one]
proposers = [{ model = "local:smollm2", seed = 1 }]
aggregator = "local:smollm2"
temperature = 0.3
max_tokens = 80

[mixtures.ollama-two]
layers = 4
proposers = [{ model = "local:smollm2", seed = 1 }, { model = "local:smollm2", seed = 2 }]
aggregator = "local:smollm2"
temperature = 0.3
max_tokens = 80
"""


def ollama_answers() -> bool:
    try:
        with urllib.request.urlopen("http://127.0.0.1:11434/api/version", timeout=2):
            return True
    except OSError:
        return False


@contextmanager
def serving(options: list[str]) -> Iterator[str]:
    """Run `moa serve` on a free port, and yield its address."""
    command = [sys.executable, "-m", "moa", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:  # noqa: S603
        assert server.stderr
        try:
            ready = next((line for line in server.stderr if line.startswith("ready on ")), None)
            if ready is None:
                sys.exit("moa serve did not start")
            yield ready.split()[2]
        finally:
            server.terminate()


def ask(llm: LLM, where: str) -> None:
    question = QUESTIONS[llm.metadata.model_name.removeprefix("moa:")]
    print(f"\n=== {llm.metadata.model_name}, {where}: {question}\n")
    response = llm.complete(question)
    print(response.text)
    for reference in response.additional_kwargs.get("references", ()):
        print(f"    [from {reference['model']}: {' '.join(reference['text'].split())[:60]}…]")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = None
        if not ollama_answers():
            print("No Ollama answers on 127.0.0.1:11434: the embedded model stands in for each of its models.")
            config = str(Path(folder, "moa.toml"))
            Path(config).write_text(STAND_IN)
        for mixture in QUESTIONS:
            ask(MixtureLLM(mixture, config=config), "in this process")
        with serving(["--config", config] if config else []) as address:
            for mixture in QUESTIONS:
                ask(Ollama(mixture, base_url=address, request_timeout=600), f"at {address}")


main()
