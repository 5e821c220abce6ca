"""A run as a tree of its calls, with a timeline of each call."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import set_cell_size
from rich.text import Text

from ... import notes
from ...trace.tree import Node, Trace
from .escape import printable
from .footer import cost
from .live import MARKS, STYLES, state

LEGEND = "· queued   ─ until the first word   █ writing"
_SEEN = (
    notes.ProposalLost,
    notes.Queued,
    notes.Dequeued,
    notes.RequestRewritten,
    notes.Rerun,
    notes.Estimated,
)
"""Notes that are shown elsewhere: at the failed call, in the timeline, with the messages or with the run."""


def tree(trace: Trace, over: bool, width: int) -> list[Text]:
    """Return a line per call, `width` columns wide. `over` marks unfinished calls as stopped."""
    rows = list(_rows(trace.root, "", "")) if trace.root else []
    names = min(max((len(lead) + len(_name(node)) for lead, _, node in rows), default=0), max(20, width // 3))
    room = max(8, width - names - 50)
    lines = [Text(f"{'call':{names}}  {'state':9}  {'tokens':>15}  {'cost':>9}  {'time':>7}", "dim")]
    for lead, below, node in rows:
        doing = state(node)
        doing = "stopped" if over and not node.end else doing
        usage = node.usage
        tokens = f"{usage.input_tokens:,} + {usage.output_tokens:,}" if usage and not node.error else ""
        line = Text(lead, "dim", no_wrap=True) + Text(_cells(printable(_name(node)), names - len(lead)))
        line.append(f"  {MARKS.get(doing, '…')} {doing:7}", STYLES.get(doing, "yellow"))
        line.append(
            f"  {tokens:>15}  {cost(usage.cost) if usage and tokens and usage.cost is not None else '':>8}", "dim"
        )
        line.append(f"  {_seconds(node, trace):5.1f} s  ")
        line.append_text(bar(node, trace.time, room))
        lines.append(line)
        style = "red" if node.error else "yellow"
        lines += [Text(below, "dim") + Text(f"  {printable(remark)}", style) for remark in _remarks(node)]
    return [*lines, Text(LEGEND, "dim")]


def bar(node: Node, total: float, width: int) -> Text:
    """Return the timeline of a call, scaled to the length of the run."""
    scale = width / total if total else 0.0

    def place(moment: float) -> int:
        return round(moment * scale)

    end = node.end.time if node.end else total
    turn = next((note.time for note in node.notes if isinstance(note.data, notes.Dequeued)), node.start.time)
    word = end if node.first_word is None or not node.is_call else node.first_word
    begun = min(place(node.start.time), width - 1)
    line = Text(" " * begun, no_wrap=True)
    marks = ("·" if at < place(turn) else "─" if at < place(word) else "█" for at in range(begun, place(end)))
    return line.append("".join(marks) or "─", "red" if node.error else "" if node.is_call else "dim")


def _rows(node: Node, lead: str, below: str) -> Iterator[tuple[str, str, Node]]:
    """Yield every call with the branches before it and below it."""
    yield lead, below, node
    for place, child in enumerate(node.children):
        last = place == len(node.children) - 1
        yield from _rows(child, below + ("└ " if last else "├ "), below + ("  " if last else "│ "))


def _name(node: Node) -> str:
    return f"{node.start.model} ({node.start.role})" if node.start.role in ("judge", "prewarm") else node.start.model


def _seconds(node: Node, trace: Trace) -> float:
    return (node.end.time if node.end else trace.time) - node.start.time


def _remarks(node: Node) -> Iterator[str]:
    """Yield the error and the notes of a call."""
    if node.error and not any(child.error for child in node.children):
        yield " ".join(node.error.split())
    for note in node.notes:
        if not isinstance(note.data, _SEEN):
            yield " ".join((note.kind, *(f"{key}={_short(value)}" for key, value in note.data.as_json().items())))


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else " ".join(str(value).split())


def _cells(text: str, width: int) -> str:
    """Return the text padded or cut to a width in cells."""
    return set_cell_size(text, width) if len(text) <= width else set_cell_size(text, width - 1) + "…"
