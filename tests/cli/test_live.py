"""The live screen: what a person sees of a run, at any moment and when it is over."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from helpers.terminal import Terminal
from moa import Event, Note, Request, Response, SpanEnd, SpanStart, TextDelta, Usage
from moa.cli.terminal.live import Screen, Tail, places, state
from moa.cli.terminal.markdown import settled
from moa.notes import Dequeued, ProposalLost, Queued
from moa.trace.tree import Trace
from moa.types import Message

RUN = "0123"
LOST = "mylab:c: HTTP 500: the engine is on fire, and so is the room it stands in, and the house around it"


def begun() -> list[Event]:
    """Three proposers: one writes, one thinks, one is lost."""
    request = Request((Message("user", "Why?"),))
    proposers = [("p1", "mylab:a"), ("p2", "mylab:b"), ("p3", "mylab:c")]
    return [
        SpanStart(RUN, "root", 0.0, "root", "moa:panel", answer=True, request=request, started_at=1.0, version=1),
        SpanStart(RUN, "l1", 0.0, "layer", "layer 1", "root", 1),
        *(SpanStart(RUN, span, 0.1, "proposer", name, "l1", 1, n) for n, (span, name) in enumerate(proposers)),
        SpanEnd("p3", 0.2, error=LOST),
        TextDelta("p1", 0.5, "Because of the way "),
        TextDelta("p1", 0.6, "light is scattered."),
    ]


def proposed() -> list[Event]:
    """... and the two others have answered."""
    return [
        *begun(),
        SpanEnd("p1", 1.1, text="Because of the way light is scattered.", usage=Usage(10, 7, 0.0)),
        SpanEnd("p2", 2.1, text="Rayleigh.", usage=Usage(10, 1234, 0.0, estimated=True)),
        Note("l1", 2.1, ProposalLost("mylab:c", 2, LOST)),
        SpanEnd("l1", 2.1),
        SpanStart(RUN, "agg", 2.1, "aggregator", "mylab:big", "root", answer=True),
    ]


def answered(text: str) -> list[Event]:
    """... and the answer is written, a word at a time."""
    words = [TextDelta("agg", 3.0 + n / 100, word, answer=True) for n, word in enumerate(text.split(" "))]
    words = [TextDelta(w.span, w.time, w.text + " " * (w is not words[-1]), answer=True) for w in words]
    return [*proposed(), *words, SpanEnd("agg", 9.0, text=text, usage=Usage(50, 9, 0.0)), SpanEnd("root", 9.0)]


def response(text: str, **more: object) -> Response:
    return Response("moa:panel", text, Usage(70, 1250, 0.0, estimated=True), **more)  # type: ignore[arg-type]


class Watched:
    """A screen, and the terminal it writes to."""

    def __init__(self, width: int = 80, height: int = 24, proposals: bool = False) -> None:
        self.file = io.StringIO()
        self.terminal = Terminal(height)
        self.now = 0.0
        console = Console(file=self.file, force_terminal=True, width=width, height=height, legacy_windows=False)
        self.screen = Screen(console, proposals, clock=lambda: self.now)

    def feed(self, events: Sequence[Event]) -> Watched:
        """Show the events one by one, as they happened."""
        for event in events:
            self.now = event.time
            self.screen.add(event)
            self.screen.draw()
        return self._read()

    def close(self, answer: Response | None) -> Watched:
        self.screen.close(answer)
        return self._read()

    def _read(self) -> Watched:
        self.terminal.feed(self.file.getvalue())
        self.file.seek(0)
        self.file.truncate()
        return self

    @property
    def text(self) -> str:
        return self.terminal.text


def test_every_call_has_a_row_with_what_it_is_doing_and_its_words_so_far() -> None:
    watched = Watched().feed(begun())
    header, writing, thinking, lost = watched.text.splitlines()
    assert header.split() == ["layer", "model", "state", "words", "tokens", "time"]
    assert writing.startswith("1      mylab:a  ") and "writing" in writing and "light is scattered." in writing
    assert thinking.split()[::2] == ["mylab:b", "thinking", "s"] and "0.5 s" in thinking
    assert "failed" in lost and "HTTP 500: the engine is on" in lost


@pytest.mark.parametrize("width", [60, 80, 160])
def test_no_row_is_wider_than_the_terminal(width: int) -> None:
    watched = Watched(width).feed(answered("Short.")).close(response("Short."))
    rows = [line for line in watched.text.splitlines() if "mylab" in line and "failed in layer" not in line]
    assert len(rows) == 4
    assert all(len(row) <= width for row in rows)


def test_a_wide_terminal_shows_more_of_the_words() -> None:
    narrow, wide = Watched(80).feed(begun()), Watched(160).feed(begun())
    assert "Because of the way light is scattered." not in narrow.text
    assert "Because of the way light is scattered." in wide.text


def test_the_rows_stay_above_the_answer_and_the_figures_come_below_it() -> None:
    watched = Watched(120).feed(answered("Because of **Rayleigh**.")).close(response("Because of **Rayleigh**."))
    lines = [line for line in watched.text.splitlines() if line]
    assert [line.split()[0] for line in lines[:4]] == ["layer", "1", "mylab:b", "mylab:c"]
    assert lines[4] == "Because of Rayleigh."
    assert lines[5].split() == ["2", "mylab:big", "✓", "done", "the", "answer", "9", "6.9", "s"]
    assert lines[6] == "4 calls · ~70 tokens in, ~1,250 out · $0 · 9.0 s · first word after 3.0 s · 1 failed"


def test_what_was_lost_is_named_with_its_whole_reason() -> None:
    watched = Watched().feed(answered("Yes.")).close(response("Yes."))
    assert f"failed in layer 1: {LOST}" in " ".join(watched.text.split())


def test_an_answer_that_was_cut_off_is_said_to_be() -> None:
    watched = Watched(160).feed(answered("Yes, bec")).close(response("Yes, bec", finish_reason="length"))
    assert "cut off by max_tokens" in watched.text


def test_an_unknown_cost_is_not_nothing() -> None:
    watched = Watched(160).feed(answered("Yes.")).close(Response("moa:panel", "Yes.", Usage(1, 1)))
    assert "cost unknown" in watched.text


def test_every_line_of_an_answer_taller_than_the_terminal_is_in_the_scrollback_once() -> None:
    points = [f"point {n}" for n in range(60)]
    text = "# All of it\n\n" + "\n".join(f"- {point}" for point in points) + "\n\nThe end."
    watched = Watched(80, 12).feed(answered(text)).close(response(text))
    shown = [line.strip(" •") for line in watched.text.splitlines()]
    assert [line for line in shown if line.startswith("point")] == points
    assert (shown.count("All of it"), shown.count("The end.")) == (1, 1)


def test_what_may_still_change_never_scrolls_away() -> None:
    watched = Watched(80, 10).feed(answered("blah " * 250)[:-2])
    assert watched.terminal.scrollback and "blah" not in "".join(watched.terminal.scrollback)


def test_more_calls_than_lines_are_all_there_at_the_end() -> None:
    calls = [SpanStart(RUN, f"p{n}", 0.1, "proposer", f"mylab:m{n}", "l1", 1, n) for n in range(40)]
    ends = [SpanEnd(f"p{n}", 1.0, text="x", usage=Usage(1, 1)) for n in range(40)]
    watched = Watched(80, 12).feed([*begun()[:2], *calls])
    assert len(watched.terminal.screen) <= 12
    aggregator = SpanStart(RUN, "agg", 2.1, "aggregator", "mylab:big", "root", answer=True)
    watched.feed([*ends, aggregator, TextDelta("agg", 3.0, "Yes.", answer=True)]).close(response("Yes."))
    assert [n for n in range(40) if f"mylab:m{n} " not in watched.text] == []


def test_the_cursor_is_seen_again_when_it_is_over() -> None:
    watched = Watched().feed(begun())
    assert not watched.terminal.cursor
    assert watched.close(None).terminal.cursor


def test_a_run_that_was_stopped_says_which_calls_were() -> None:
    watched = Watched().feed(begun()).close(None)
    assert watched.text.count("stopped") == 2


def test_a_screen_shows_a_stored_run_as_it_showed_the_run() -> None:
    def end(events: Sequence[Event]) -> str:
        return Watched().feed(events).close(response("Because.")).text

    from moa.events import from_json, to_json

    events = answered("Because.")
    assert end([from_json(to_json(event)) for event in events]) == end(events)


def test_proposals_are_shown_before_the_answer_when_they_are_wished() -> None:
    watched = Watched(proposals=True).feed(answered("Yes.")).close(response("Yes."))
    order = ["layer 1: mylab:a", "Because of the way light", "layer 1: mylab:b", "Rayleigh.", "answer ──", "Yes."]
    places = [watched.text.rindex(words) for words in order]
    assert places == sorted(places)


def test_a_model_cannot_send_codes_to_the_terminal() -> None:
    evil = "\x1b]0;title\x07\x1b[2Jgone\x9b2J"
    events = [*begun(), TextDelta("p1", 0.7, evil)]
    watched = Watched(160).feed(events)  # the terminal refuses what it does not know
    watched.feed([SpanStart(RUN, "agg", 2.1, "aggregator", "mylab:big", "root", answer=True)])
    watched.feed([TextDelta("agg", 2.2, evil, answer=True)]).close(response(evil))
    assert "]0;title[2Jgone2J" in watched.text


def test_no_word_of_an_answer_is_taken_for_html_or_a_link_definition() -> None:
    text = "A Vec<T> and <b>bold</b>.\n\n<div>\nkept\n</div>\n\n[1]: https://example.org"
    watched = Watched().feed(answered(text)).close(response(text))
    for words in ("Vec<T>", "<b>bold</b>", "<div>", "kept", "[1]: https://example.org"):
        assert words in watched.text


def test_a_call_that_waits_its_turn_is_queued_until_it_has_it() -> None:
    trace = Trace()
    for event in [*begun(), Note("p2", 0.2, Queued())]:
        trace.add(event)
    assert state(trace.node("p2")) == "queued"
    trace.add(Note("p2", 0.9, Dequeued(0.7)))
    assert state(trace.node("p2")) == "thinking"


def test_a_call_in_a_mixture_within_a_mixture_says_both_layers() -> None:
    trace = Trace()
    for event in [
        *begun()[:2],
        SpanStart(RUN, "inner", 0.1, "proposer", "moa:small", "l1", 1, 0),
        SpanStart(RUN, "l1.1", 0.1, "layer", "layer 1", "inner", 1),
        SpanStart(RUN, "p", 0.1, "proposer", "mylab:a", "l1.1", 1, 0),
        SpanStart(RUN, "iagg", 0.2, "aggregator", "mylab:b", "inner"),
        SpanStart(RUN, "agg", 0.3, "aggregator", "mylab:big", "root", answer=True),
    ]:
        trace.add(event)
    assert trace.root
    assert [(place, node.start.model) for place, node in places(trace.root)] == [
        ("1.1", "mylab:a"),
        ("1.2", "mylab:b"),
        ("2", "mylab:big"),
    ]


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("One.", ""),
        ("One.\n\nTw", ""),
        ("One.\n\nTwo.\n", "One.\n\n"),
        ("- a\n\n- b\n", ""),
        ("- a\n\nNext.\n", "- a\n\n"),
        ("```\na\n\nb\n", ""),
        ("| a |\n|---|\n| 1 |\n", ""),
    ],
)
def test_a_block_is_final_when_no_further_words_can_change_it(text: str, final: str) -> None:
    assert text[: settled(text)] == final


def test_a_line_too_long_for_its_place_keeps_its_end() -> None:
    assert Tail("together:meta-llama/Llama-3-70b").fitted(12) == "…Llama-3-70b"
    assert Tail("日本語の文章").fitted(7) == "…の文章"
