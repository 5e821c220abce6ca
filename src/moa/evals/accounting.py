"""What a question took, read off its events: as if nothing of it had been in a cache, and what was paid now.

What a provider had in its own prompt cache is not told: that differs from run to run.
"""

from __future__ import annotations

from ..events import SpanEnd
from ..trace.tree import Node, Trace
from ..types import Usage
from .sample import AnswerCost


def bill(trace: Trace) -> AnswerCost:
    """What the run took."""
    if trace.root is None:
        return AnswerCost()
    calls = trace.calls
    paid = Usage.total(_paid(call) for call in calls).cost
    used = Usage.total(_used(call) for call in calls)
    return AnswerCost(used, len(calls), _chain(trace.root), round(_seconds(trace.root), 4), paid)


def _kept(call: Node) -> dict[str, float | None]:
    """What the call took when it was first made, where its answer came from a cache; else nothing."""
    return next((dict(note.data) for note in call.notes if note.kind == "cached"), {})


def _paid(call: Node) -> Usage:
    return call.usage or Usage(cost=0.0)


def _used(call: Node) -> Usage:
    kept = _kept(call)
    if not kept:
        paid = _paid(call)
        return Usage(paid.input_tokens, paid.output_tokens, paid.cost)
    return Usage(int(kept.get("input_tokens") or 0), int(kept.get("output_tokens") or 0), kept.get("cost"))


def _chain(node: Node) -> int:
    if node.start.role == "reading":
        return 0
    if node.is_call:
        return _used(node).output_tokens
    below = [_chain(child) for child in node.children]
    return max(below, default=0) if node.start.role == "layer" else sum(below)


def _seconds(node: Node) -> float:
    """How long it took, without the time it stood in line: that is the evaluation's doing, not the model's."""
    if node.start.role == "reading":
        return 0.0
    if node.is_call:
        kept = _kept(node).get("seconds")
        return kept if kept is not None else _lasted(node.start.time, node.end) - _queued(node)
    below = [_seconds(child) for child in node.children]
    return max(below, default=0.0) if node.start.role == "layer" else sum(below)


def _lasted(begun: float, end: SpanEnd | None) -> float:
    return end.time - begun if end else 0.0


def _queued(call: Node) -> float:
    return sum(float(note.data.get("seconds", 0)) for note in call.notes if note.kind == "queued")
