"""The library has no hidden side effects: it opens, writes, sets and sends only what the caller requests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import moa
from helpers.evals import QUESTION, mixed
from helpers.upstream import Reply, Upstream
from moa import Layer, Message, Mixture, RequestError, Scripted, Synthesize
from moa.models.openai.model import OpenAI

WATCHED = """
import sys
seen = []
def watch(event, args):
    if event == "open" and isinstance(args[1], str) and any(c in args[1] for c in "wax+"):
        seen.append((event, str(args[0])))
    if event.startswith(("socket.", "subprocess.", "os.system", "os.mkdir", "os.remove", "urllib.", "_thread.start")):
        seen.append((event, str(args)))
sys.addaudithook(watch)
sys.dont_write_bytecode = True
import logging, os, signal, threading, warnings
before = (dict(os.environ), signal.getsignal(signal.SIGINT), list(warnings.filters), sys.excepthook)
import moa
after = (dict(os.environ), signal.getsignal(signal.SIGINT), list(warnings.filters), sys.excepthook)
print(seen, logging.getLogger().handlers, logging.getLogger().level, threading.active_count(), before == after)
"""


def test_importing_it_opens_nothing_writes_nothing_and_sets_nothing() -> None:
    """Other packages install packages, add a root log handler, write files or phone home at import."""
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[] [] 30 1 True\n", "")


def test_a_run_writes_no_files_and_calls_nobody_but_its_upstreams(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with Upstream({"a": "red", "judge": "green"}) as upstream:
        asyncio.run(moa.generate(mixed(upstream, ["a"]), QUESTION))
    assert sorted(tmp_path.rglob("*")) == before
    assert len(upstream.calls) == 2


async def test_a_key_travels_only_in_the_authorization_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", "s3cret-key")
    events: list[moa.Event] = []
    with Upstream({"a": "red", "b": Reply("the key s3cret-key is wrong", status=401)}) as upstream:
        a, b = (OpenAI(name, upstream.url, api_key_env="LAB_KEY") for name in "ab")
        await moa.generate(Mixture((Layer((a, b)),), Synthesize(a)), QUESTION, events.append)
    for call in upstream.calls:
        assert {key for key, value in call.headers.items() if "s3cret-key" in value} == {"Authorization"}
        assert "s3cret-key" not in str(call.body)
    assert "s3cret-key" not in str(events) + repr(a)


async def test_ids_of_runs_and_calls_do_not_collide() -> None:
    spans: list[str] = []
    runs: list[str] = []

    def see(event: moa.Event) -> None:
        if isinstance(event, moa.SpanStart):
            spans.append(event.span)
            if event.parent is None:
                runs.append(event.run)

    layer = Layer([Scripted(f"m{number}", "x") for number in range(20)])
    mixture = Mixture((layer,), Synthesize(Scripted("j", "y")))
    await asyncio.gather(*(moa.generate(mixture, QUESTION, see) for _ in range(50)))
    assert len(spans) == len(set(spans)) == 50 * 23
    assert len(runs) == len(set(runs)) == 50


def test_a_role_that_is_none_is_refused() -> None:
    with pytest.raises(RequestError, match="unknown role 'ai'"):
        Message("ai", "red")  # type: ignore[arg-type]
