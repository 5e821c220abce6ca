"""A program with llama.cpp in it ends cleanly, whenever it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from moa.models.llamacpp import weights
from moa.models.llamacpp.weights import SMOLLM2

PROGRAM = """
import asyncio, os, sys, threading
from moa.events import TextDelta
from moa.model import prewarm
from moa.span import generate
from moa.models.llamacpp import engine, weights
from moa.models.llamacpp.model import LlamaCpp
from moa.streaming import stream
from moa.types import Message, Request

model = LlamaCpp(weights.SMOLLM2, "m")
endless = Request((Message("user", "Count."),), max_tokens=8000, extra={"ignore_eos": True})
short = Request((Message("user", "Say hello."),), max_tokens=4, temperature=0)

async def watch(until=None):
    async with stream(model, endless) as events:
        async for event in events:
            if isinstance(event, TextDelta) and until:
                until()
"""

ENDINGS = {
    "after loading the file to read ahead": 'asyncio.run(prewarm(model, short)).read and print("end")',
    "right after loading": 'engine.load(weights.fetch(weights.SMOLLM2), engine.Settings(256, 2, None))\nprint("end")',
    "after an answer": 'asyncio.run(generate(model, short))\nprint("end")',
    "while another thread is answered": """
begun = threading.Event()
threading.Thread(target=lambda: asyncio.run(watch(begun.set)), daemon=True).start()
begun.wait()
print("end")""",
    "by an error": """
begun = threading.Event()
threading.Thread(target=lambda: asyncio.run(watch(begun.set)), daemon=True).start()
begun.wait()
print("end")
sys.exit(0)""",
    "while a prompt is read ahead": """
begun = threading.Event()
async def read():
    reading = asyncio.create_task(prewarm(model, Request((Message("user", "Read on. " * 2000),))))
    await asyncio.sleep(0)
    begun.set()
    await reading
asyncio.run(generate(model, short))
threading.Thread(target=lambda: asyncio.run(read()), daemon=True).start()
begun.wait()
print("end")""",
    "while the model is loaded": """
async def hurry():
    loading = asyncio.create_task(generate(model, short))
    await asyncio.sleep(0)
    loading.cancel()
asyncio.run(hurry())
print("end")""",
}


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + program], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.embedded
@pytest.mark.parametrize(
    "ending", [pytest.param(one, marks=() if one == "after an answer" else pytest.mark.slow) for one in ENDINGS]
)
def test_the_program_ends_cleanly_and_llama_cpp_says_nothing(ending: str) -> None:
    weights.fetch(SMOLLM2)
    ended = run(ENDINGS[ending])

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "end\n", "")


@pytest.mark.embedded
def test_an_interrupt_ends_a_running_answer() -> None:
    weights.fetch(SMOLLM2)
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + 'asyncio.run(watch(lambda: print("begun", flush=True)))'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout
    assert program.stdout.readline() == "begun\n"
    program.send_signal(signal.SIGINT)
    _, complaint = program.communicate(timeout=120)

    assert program.returncode == -signal.SIGINT
    assert complaint.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.embedded
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_is_told_to_be_spawned() -> None:
    ended = run("""
asyncio.run(generate(model, short))
child = os.fork()
if not child:
    try:
        asyncio.run(generate(model, short))
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)""")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "forked" in ended.stdout


@pytest.mark.embedded
def test_llama_cpp_speaks_when_it_is_asked_to() -> None:
    ended = run('os.environ["MOA_LLAMA_LOG"] = "1"\nasyncio.run(generate(model, short))')

    assert ended.returncode == 0
    assert "llama" in ended.stderr + ended.stdout


def test_without_the_library_the_way_to_get_it_is_named() -> None:
    ended = run("""
sys.modules["xllamacpp"] = None
for call in (model.check, lambda: asyncio.run(generate(LlamaCpp(weights.fetch(weights.SMOLLM2), "m"), short))):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, error)""")

    assert ended.stdout.count("ConfigError") == 2
    assert ended.stdout.count('pip install "mixture-of-agents[local]"') == 2
