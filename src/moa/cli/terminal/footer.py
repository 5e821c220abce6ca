"""What is said under an answer: one line of calls, tokens, cost and time, and a line for whatever went wrong."""

from __future__ import annotations

from ... import notes
from ...estimates.likely import missed
from ...trace.tree import Trace
from ...types import Response, Usage


def summary(trace: Trace, response: Response) -> str:
    """One line. What was estimated is marked with ~, and a cost that nobody knows is said to be unknown."""
    calls = len(trace.calls)
    parts = [f"{calls} call{'s' * (calls != 1)}", tokens(response.usage), cost(response.usage.cost)]
    parts.append(f"{trace.time:.1f} s")
    if trace.first_word is not None:
        parts.append(f"first word after {trace.first_word:.1f} s")
    parts += map(early_exit, trace.early_exits)
    if response.finish_reason == "length":
        parts.append("cut off by max_tokens")
    if trace.lost:
        parts.append(f"{len(trace.lost)} lost")
    if wrong := missed(trace):
        parts.append(", ".join(f"{name} {part:+.0%}" for name, part in wrong.items()) + " of the quote")
    return " · ".join(parts)


def remarks(trace: Trace, response: Response) -> list[str]:
    """A line for each proposal that did not arrive, with the reason, each model that another stood in for, and one if
    the answer is not the aggregator's."""
    lines = [f"lost in layer {one.layer}: {one}" for one in trace.lost]
    if not response.fallback and trace.root:
        fallbacks = (note for node in trace.root.walk() for note in node.notes_of(notes.Fallback))
        lines += [f"another stood in: {note.error}" for note in fallbacks]
    return [*lines, f"fallback: {response.fallback}"] if response.fallback else lines


def early_exit(note: notes.EarlyExit) -> str:
    """Return what an early exit saved."""
    saved = f"{note.calls} call{'s' * (note.calls != 1)} saved"
    about = "" if note.cost is None else f", about {cost(note.cost)}"
    return f"layer {note.layer} agrees ({note.agreement:.2f}), {saved}{about}"


def tokens(usage: Usage) -> str:
    mark = "~" if usage.estimated else ""
    return f"{mark}{usage.input_tokens:,} tokens in, {mark}{usage.output_tokens:,} out"


def cost(dollars: float | None) -> str:
    """US dollars, to two digits that count."""
    if dollars is None:
        return "cost unknown"
    if dollars == 0:
        return "$0"
    if dollars >= 1:
        return f"${dollars:,.2f}"
    return "$" + f"{dollars:.2g}" if dollars >= 1e-4 else f"${dollars:.7f}".rstrip("0")
