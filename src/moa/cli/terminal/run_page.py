"""A stored run: its question, the tree of its calls, the messages they were sent, and the answer."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from ... import notes
from ...estimates.likely import Quote
from ...provenance.attribution import Provenance
from ...store.reader import StoredRun
from ...store.rows import when
from ...trace.tree import Node, Trace
from ...trace.views import message_text, messages_sent, response_of
from .escape import printable
from .estimate import estimated
from .footer import remarks, summary
from .provenance import sources
from .waterfall import tree


def shown(
    run: StoredRun, trace: Trace, messages: bool, width: int, traced: Provenance | None = None
) -> Iterator[RenderableType]:
    """Yield the parts of the page, `width` columns wide. With `traced`, the answer is shown with its provenance."""
    assert trace.root
    yield Text(f"{run.id}  {run.model}  {run.state}  {when(run.started)}", "bold")
    for note in trace.root.notes:
        match note.data:
            case notes.Rerun(of=of, changed=changed):
                yield Text(printable(f"rerun of {of}: {changed}"), "dim")
            case notes.Estimated() as estimate:
                yield Text(f"estimate: {estimated(Quote(**estimate.as_json()))}", "dim")
    if trace.root.start.request:
        yield Text(printable(trace.root.start.request.question))
    yield ""
    yield from tree(trace, run.state != "running", width)
    yield ""
    if messages:
        for call in trace.calls:
            yield from _sent(call)
    if traced:
        yield from sources(trace.root.text, traced)
        yield ""
    elif trace.root.text:
        yield Text(printable(trace.root.text))
        yield ""
    answer = response_of(trace.root)
    if run.state == "answered":
        yield Text(summary(trace, answer), "dim")
    for line in remarks(trace, answer):
        yield Text(printable(line), "red")


def _sent(call: Node) -> Iterator[RenderableType]:
    """Yield the messages that a model was sent, and its answer."""
    place = f"layer {call.start.layer}: " if call.start.layer else ""
    yield Text(printable(f"## {place}{call.start.model} ({call.start.role})"), "bold")
    messages = [(message["role"], message_text(message)) for message in messages_sent(call)]
    for role, text in (*messages, ("answer", call.text or call.error or "")):
        yield Text(f"### {role}", "dim")
        yield Text(printable(text))
    yield ""
