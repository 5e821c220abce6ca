"""Writes the event streams beside it, and what they are folded into: `python tests/golden/remake.py`.

To be run after a change of the events or of the fold: Python's and the page's are both tested against what it writes.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moa
from moa.cli.terminal.live import state
from moa.events import Event, from_json, to_json
from moa.trace.tree import Trace
from moa.trace.views import call_json
from moa.wrappers.hedge import Hedged

HERE = Path(__file__).parent
QUESTION = moa.Request((moa.Message("system", "Be brief."), moa.Message("user", "Which colour is the sky at noon?")))
PAID = moa.Usage(20, 6, 0.002)


def says(name: str, *lines: Any, delay: float = 0.0) -> moa.Scripted:
    return moa.Scripted(name, lines, delay=delay, pace=0.002, usage=PAID)


@dataclass(eq=False)
class CutOnce:
    """A model whose first answer breaks off."""

    name: str = "flaky"
    cut: bool = False

    async def generate(self, request: moa.Request, span: moa.Span) -> moa.Response:
        span.text("Blue, ")
        await asyncio.sleep(0.005)
        if not self.cut:
            self.cut = True
            raise moa.CutStream("flaky: the stream was cut", retryable=True)
        span.text("I think.")
        return moa.Response(self.name, "Blue, I think.", PAID)


async def everything() -> moa.Model:
    """A nested mixture, a retry in the middle of the words, a lost proposer, a cached call, a straggler asked twice."""
    cached = moa.Cached(says("kept", "Blue, as it was before."))
    await moa.generate(cached, QUESTION)
    flaky = moa.Retried(CutOnce(), pause=0.01)
    small = moa.Layer((says("small", "Bluish."), says("tiny", "Azure.")))
    pair = moa.Mixture((small,), moa.Synthesize(says("both", "Azure blue.")), "pair")
    thinker = moa.Scripted(
        "thinker", moa.Response("thinker", "Blue — 蓝色, «голубой», 🟦.", PAID, reasoning="Scattering.")
    )
    lost = says("lost", moa.ModelError("lost: HTTP 401: no such key", status=401))
    slow = Hedged(says("slow", "Sky blue.", "Sky-blue.", delay=0.05), after=0.02)
    return moa.Mixture(
        (moa.Layer((cached, flaky, lost, pair, slow)), moa.Layer((thinker, says("second", "Blue by day.")))),
        moa.Synthesize(says("judge", "It is **blue**: the air scatters blue light most.")),
        "everything",
    )


async def picked() -> moa.Model:
    """A judge chooses one of the proposals."""
    return moa.Mixture((moa.Layer((says("a", "Red."), says("b", "Blue."))),), moa.Pick(says("judge", "2")), "picked")


async def failed() -> moa.Model:
    """Every proposer is lost."""
    broken = says("broken", moa.ModelError("broken: HTTP 500: on fire", status=500))
    return moa.Mixture((moa.Layer((broken,)),), moa.Synthesize(says("judge", "Never asked.")), "failed")


async def single() -> moa.Model:
    """No mixture: one model, whose words are the answer."""
    return says("alone", "Blue.")


def stands(events: list[Event]) -> dict[str, Any]:
    """What a fold tells of these events."""
    trace = Trace.of(events)
    assert trace.root
    return {
        "tree": call_json(trace.root),
        "time": trace.time,
        "first_word": trace.first_word,
        "lost": [{"model": one.model, "layer": one.layer, "error": one.error} for one in trace.lost],
        "calls": {node.start.span: state(node) for node in trace.calls},
    }


def moments(events: list[Event]) -> list[dict[str, Any]]:
    """How it stands after a few numbers of events, in the middle and at the end."""
    counts = sorted({len(events) * part // 8 for part in range(1, 9)} - {0})
    return [{"after": count, **stands(events[:count])} for count in counts]


async def main() -> None:
    for make in (everything, picked, failed, single):
        events: list[Event] = []
        try:
            await moa.generate(await make(), QUESTION, events.append, "all")
        except moa.MoaError:
            assert make is failed
        lines = b"".join(to_json(event) + b"\n" for event in events)
        (HERE / f"{make.__name__}.jsonl").write_bytes(lines)
        kept = [from_json(line) for line in lines.splitlines()]
        summary = json.dumps(moments(kept), indent=1, ensure_ascii=False) + "\n"
        (HERE / f"{make.__name__}.json").write_text(summary, "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
