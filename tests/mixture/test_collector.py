"""Why a layer stops waiting: its proposals are complete, or one of four other reasons."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import moa
from moa import Layer, Message, Request, Scripted
from moa.mixture.adaptive_timeout import AdaptiveTimeout
from moa.mixture.collector import ProposalCollector
from moa.notes import ProposalLost
from moa.span import CallSpec, Run, Span

pytestmark = pytest.mark.usefixtures("virtual_time")

QUESTION = Request((Message("user", "Which colour?"),))
LATE = 60.0
RED, BLUE = Scripted("a", "red"), Scripted("b", "blue", delay=LATE)


def collector(layer: Layer, run: Run | None = None, **more: Any) -> tuple[ProposalCollector, list[moa.Event]]:
    events: list[moa.Event] = []
    span = Span(run or Run(events.append), None, CallSpec("root"), "mixture", QUESTION)
    return ProposalCollector(layer, 1, QUESTION, (), span, **more), events


@pytest.mark.parametrize(
    ("layer", "closes_at", "lost"),
    [
        (Layer([RED]), None, []),
        (Layer([RED, BLUE], timeout=0.05), None, ["no answer within 0.05 s"]),
        (Layer([RED, BLUE], quorum=2), 0.05, ["no answer before the deadline"]),
        (Layer([RED, BLUE], grace=0.05), None, ["no answer within 0.05 s after the quorum of 1"]),
        (
            Layer([RED, BLUE], timeout=AdaptiveTimeout(min=0.05, max=0.05)),
            None,
            ["no answer within 0.1 s (adaptive timeout from past latencies)"],
        ),
    ],
    ids=["complete", "timeout", "budget", "grace", "adaptive timeout"],
)
async def test_a_layer_stops_waiting(layer: Layer, closes_at: float | None, lost: list[str]) -> None:
    collected, events = collector(layer, closes_at=closes_at)
    proposals = await asyncio.wait_for(collected.collect(), LATE / 2)
    assert [proposal.text for proposal in proposals] == ["red"]
    notes = [event.data for event in events if isinstance(event, moa.Note)]
    assert [note.error for note in notes if isinstance(note, ProposalLost)] == lost


async def test_a_layer_stops_waiting_when_the_run_is_to_finish() -> None:
    run = Run()
    collected, _ = collector(Layer([RED, BLUE], quorum=2), run)
    task = asyncio.create_task(collected.collect())
    await asyncio.sleep(0)
    run.finish()
    assert [proposal.text for proposal in await asyncio.wait_for(task, LATE / 2)] == ["red"]


async def test_a_layer_stops_waiting_when_the_quorum_is_out_of_reach() -> None:
    broken = Scripted("c", moa.ModelError("c: HTTP 500"))
    collected, _ = collector(Layer([RED, BLUE, broken], quorum=3))
    with pytest.raises(moa.LayerError) as caught:
        await asyncio.wait_for(collected.collect(), LATE / 2)
    assert [(lost.model, lost.layer) for lost in caught.value.lost] == [("b", 1), ("c", 1)]


async def test_a_bug_in_a_proposer_or_in_its_observer_ends_the_run() -> None:
    class Broken:
        def text_listener(self, index: int) -> None:
            raise ZeroDivisionError

        def on_done(self, index: int, response: moa.Response) -> None: ...

        def on_failed(self, index: int) -> None: ...

        def order(self, indexes: Any) -> list[int]:
            return list(indexes)

    buggy = Scripted("buggy", ZeroDivisionError())
    for layer, observer in ((Layer([buggy, BLUE]), None), (Layer([RED, BLUE]), Broken())):
        collected, _ = collector(layer, observer=observer)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(collected.collect(), LATE / 2)
