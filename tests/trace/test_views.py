"""Views of a run's tree: what each call was sent, and the proposals of each layer."""

from __future__ import annotations

from moa import Event, Message, Note, Request, SpanEnd, SpanStart, Trace
from moa.notes import ProposalLost, RequestRewritten
from moa.trace.views import message_text, messages_sent, proposals, response_of

QUESTION = Request((Message("user", "Why?"),))


def start(span: str, role: str, model: str, parent: str | None = None, **fields: object) -> SpanStart:
    return SpanStart("r", span, 0.0, role, model, parent, request=QUESTION, **fields)  # type: ignore[arg-type]


def layer(*ends: Event) -> Trace:
    """A layer of two proposers. The second reads its references in two calls."""
    return Trace.of(
        [
            start("root", "root", "panel"),
            SpanStart("r", "layer", 0.0, "layer", "layer 1", "root", 1),
            start("a", "proposer", "a", "layer", layer=1, index=0),
            start("b1", "proposer", "b", "layer", layer=1, index=1),
            SpanEnd("b1", 1.0, text="A first draft."),
            start("b2", "proposer", "b", "layer", layer=1, index=1),
            SpanEnd("a", 2.0, text="Because."),
            *ends,
        ]
    )


def texts(trace: Trace) -> list[list[str]]:
    assert trace.root
    return [[response.text for _, response in made] for made in proposals(trace.root)]


def test_the_last_call_of_a_proposer_is_its_proposal() -> None:
    assert texts(layer(SpanEnd("b2", 2.0, text="The final draft."))) == [["Because.", "The final draft."]]


def test_a_proposer_that_is_lost_after_a_first_draft_has_no_proposal() -> None:
    lost = layer(SpanEnd("b2", 2.0, error="b: gone"), Note("layer", 2.0, ProposalLost("b", 1, "b: gone")))
    assert texts(lost) == [["Because."]]
    assert lost.root and [reference.model for reference in response_of(lost.root).references] == ["a"]


def test_a_call_was_sent_its_request_or_what_a_wrapper_made_of_it() -> None:
    parts = [{"type": "text", "text": "Why "}, {"type": "image_url", "image_url": {"url": "data:"}}]
    rewritten = RequestRewritten(({"role": "user", "content": parts},))
    trace = layer(Note("a", 2.0, rewritten), SpanEnd("b2", 2.0, text="The final draft."))
    a, b1, _ = trace.calls
    assert [message_text(message) for message in messages_sent(a)] == ["Why [image_url]"]
    assert [message_text(message) for message in messages_sent(b1)] == ["Why?"]
