"""The lines under an answer: calls, tokens, cost and time, and what failed."""

from __future__ import annotations

from ... import notes
from ...estimates.likely import missed
from ...trace.tree import Trace
from ...types import Response, Usage


def summary(trace: Trace, response: Response) -> str:
    """Return the line of calls, tokens, cost and time. Estimates are marked with ~."""
    calls = len(trace.calls)
    parts = [f"{calls} call{'s' * (calls != 1)}", tokens(response.usage), cost(response.usage.cost)]
    parts.append(f"{trace.time:.1f} s")
    if trace.first_word is not None:
        parts.append(f"first word after {trace.first_word:.1f} s")
    parts += map(early_exit, trace.early_exits)
    if response.finish_reason == "length":
        parts.append("cut off by max_tokens")
    if trace.lost:
        parts.append(f"{len(trace.lost)} failed")
    if wrong := missed(trace):
        parts.append(", ".join(f"{name} {part:+.0%}" for name, part in wrong.items()) + " against the estimate")
    return " · ".join(parts)


def remarks(trace: Trace, response: Response) -> list[str]:
    """Return a line for each failed proposal and each model replaced by its fallback, and one if the answer is not the
    aggregator's."""
    lines = [f"failed in layer {one.layer}: {one}" for one in trace.lost]
    if not response.fallback and trace.root:
        fallbacks = (note for node in trace.root.walk() for note in node.notes_of(notes.Fallback))
        lines += [f"fallback model used: {note.error}" for note in fallbacks]
    return [*lines, f"fallback: {response.fallback}"] if response.fallback else lines


def early_exit(note: notes.EarlyExit) -> str:
    """Return what an early exit saved."""
    saved = f"{note.calls} call{'s' * (note.calls != 1)} saved"
    about = "" if note.cost is None else f", about {cost(note.cost)}"
    return f"layer {note.layer} agrees ({note.agreement:.2f}), {saved}{about}"


def tokens(usage: Usage) -> str:
    """Return the tokens of a usage."""
    mark = "~" if usage.estimated else ""
    return f"{mark}{usage.input_tokens:,} tokens in, {mark}{usage.output_tokens:,} out"


def cost(dollars: float | None) -> str:
    """Return US dollars with two significant digits."""
    if dollars is None:
        return "cost unknown"
    if dollars == 0:
        return "$0"
    if dollars >= 1:
        return f"${dollars:,.2f}"
    return "$" + f"{dollars:.2g}" if dollars >= 1e-4 else f"${dollars:.7f}".rstrip("0")
