"""What is said while a run goes on: a call starts, speaks, is noted, ends. JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from .types import Request, Usage

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 1
"""The version of this vocabulary; the first event of every run carries it, so stored runs outlive changes."""

Role = Literal["root", "layer", "section", "proposer", "aggregator", "judge", "reading"]
"""What a call is for. The root is the call that the run was started with; layers and sections only hold calls. A
reading answers nothing: it is a prompt, or the beginning of one, that its model reads ahead of its call."""

TextKind = Literal["text", "reasoning", "tool_call"]
"""What kind of words: the answer's, the model's own thinking, or the arguments of a tool call as JSON text."""


@dataclass(frozen=True, slots=True)
class SpanStart:
    """A call begins. `time` is in seconds since the run began, as in every event.

    `model` is the model's name, `request` what it is asked (`None` for a layer). `layer` counts from 1, `index` is
    the place of a proposer in its layer, from 0. `answer` says that its words are part of the run's final answer.
    Only the root carries `started_at` (Unix time, seconds) and `version`.
    """

    run: str
    span: str
    time: float
    role: Role
    model: str
    parent: str | None = None
    layer: int | None = None
    index: int | None = None
    answer: bool = False
    request: Request | None = None
    started_at: float | None = None
    version: int | None = None
    type: Literal["span_start"] = "span_start"


@dataclass(slots=True, unsafe_hash=True)
class Delta:
    """Some words of a call, as they arrive.

    A value like the others. It is not `frozen`, which would make it eight times as dear, and there is one a word.
    """

    span: str
    time: float
    text: str
    kind: TextKind = "text"
    answer: bool = False
    type: Literal["delta"] = "delta"


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth knowing about a call that is neither its words nor its end.

    `kind` is one of: "queued" (it waits its turn; said again with `seconds` when it has it), "fetching" (weights, on
    first use), "retry" (its words so far are void), "hedged" (asked a second time), "cached" (remembered; with what the
    answer took when it was made, in tokens, cost and `seconds`), "unsent" (options this provider refuses, so they were
    not sent), "sent" (the conversation as it really was sent, where a model on the way changed it), "recalled"
    (answered from the stored run `of`); "window" (the references did not fit and are read a few at a time), "left_out"
    (a reference no window can hold); "lost" (a proposal of this layer did not arrive); "choice", "votes"; "fallback"
    (another answers in its place), "flaw" (the aggregation is flawed, but was being read), "repair" (asked again for
    the form asked for); "read_ahead" (`tokens` of the prompt were known when the call itself began, `read` of them read
    for it, in `times` pieces and `seconds`, of which about `saved` were not waited for), "unread" (reading ahead
    failed); "shrunk" (proposers or a layer left out to keep within the budget), "skipped" (a later layer that failed),
    "agreed" (the proposals of a layer are alike, so what stands in `skipped` was not asked: so many `calls` of this
    mixture, and about `cost` US dollars), "differed" (they are not alike enough for that); "step" (the aggregator is
    asked in steps: so many proposals are `shown` to it, so many of them `complete`), "withdrawn" (it was told that a
    proposal it had been shown is not to be relied on), "step_failed" (so it waits for the complete proposals),
    "no_staircase" (why this request is not answered in steps); "rerun" (the run is made from the run `of`, with what is
    `changed`), "quoted" (what it was likely to take, see `quote.Quote`).
    """

    span: str
    time: float
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    type: Literal["note"] = "note"


@dataclass(frozen=True, slots=True)
class SpanEnd:
    """A call is over: with its whole text and what it used, or with an error."""

    span: str
    time: float
    error: str | None = None
    text: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    type: Literal["span_end"] = "span_end"


Event = SpanStart | Delta | Note | SpanEnd


@cache
def _adapter() -> TypeAdapter[Event]:
    from typing import Annotated

    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Event, Field(discriminator="type")])


def to_json(event: Event) -> bytes:
    """The event as one line of JSON, without the fields that are `None`."""
    return _adapter().dump_json(event, exclude_none=True)


def from_json(line: bytes | str) -> Event:
    """The event that `to_json` wrote. Raises `ValueError` for anything else."""
    return _adapter().validate_json(line)
