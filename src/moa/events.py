"""The events of a run: a call starts, streams text, is noted, ends. JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from . import notes
from .types import Request, Usage

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 2
"""The version of this format. The first event of each run carries it, so stored runs stay readable."""

Role = Literal["root", "layer", "section", "proposer", "aggregator", "judge", "prewarm"]
"""What a call is for. The root is the call that started the run; layers and sections only group calls. A prewarm
answers nothing: its model reads a prompt, or the beginning of one, before the call that needs it."""

TextKind = Literal["text", "reasoning", "tool_call"]
"""The kind of text: the answer's, the model's reasoning, or the arguments of a tool call as JSON text."""


@dataclass(frozen=True, slots=True)
class SpanStart:
    """A call begins. `time` is in seconds since the run began, as in every event.

    `model` is the model's name, `request` its request (`None` for a layer). `layer` counts from 1, `index` is the
    position of a proposer in its layer, from 0. `answer` is set if its text is part of the run's final answer.
    Only the root has `started_at` (Unix time, seconds) and `version`.
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
class TextDelta:
    """Some text of a call, as it arrives. `answer` is set if it is part of the run's final answer."""

    # It is not frozen, which would make it eight times as slow to create, and there is one for each token.
    span: str
    time: float
    text: str
    kind: TextKind = "text"
    answer: bool = False
    type: Literal["delta"] = "delta"


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth knowing about a call besides its text and its end. Each kind is a class in `moa.notes`."""

    span: str
    time: float
    data: notes.NoteData
    type: Literal["note"] = "note"

    @property
    def kind(self) -> str:
        """The name of its kind, as in JSON."""
        return self.data.kind


@dataclass(frozen=True, slots=True)
class SpanEnd:
    """A call is over: with its whole text and its usage, or with an error."""

    span: str
    time: float
    error: str | None = None
    text: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    type: Literal["span_end"] = "span_end"


Event = SpanStart | TextDelta | Note | SpanEnd


def to_json(event: Event) -> bytes:
    """Return the event as one line of JSON, without the fields that are `None`."""
    if isinstance(event, Note):
        return _adapter().dump_json(_Note(event.span, event.time, event.kind, event.data.as_json()), exclude_none=True)
    return _adapter().dump_json(event, exclude_none=True)


def from_json(line: bytes | str) -> Event:
    """Return the event that `to_json` wrote. Raises `ValueError` for anything else."""
    return _event(_adapter().validate_json(line))


def from_record(record: Mapping[str, Any], version: int = VERSION) -> Event:
    """Return the event of a JSON object that was written in this version. Raises `ValueError`."""
    return _event(_adapter().validate_python(_upgraded(record) if version < VERSION else record))


@dataclass(eq=False, repr=False)
class _Note:
    """A note as JSON has it."""

    span: str
    time: float
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    type: Literal["note"] = "note"


@cache
def _adapter() -> TypeAdapter[SpanStart | TextDelta | _Note | SpanEnd]:
    from typing import Annotated

    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[SpanStart | TextDelta | _Note | SpanEnd, Field(discriminator="type")])


def _event(read: SpanStart | TextDelta | _Note | SpanEnd) -> Event:
    if isinstance(read, _Note):
        return Note(read.span, read.time, notes.from_json(read.kind, read.data))
    return read


_VERSION_1: Mapping[str, type[notes.NoteData]] = {
    "fetching": notes.Downloading,
    "unsent": notes.OptionsDropped,
    "sent": notes.RequestRewritten,
    "recalled": notes.Replayed,
    "window": notes.ReferencesWindowed,
    "left_out": notes.ReferenceDropped,
    "lost": notes.ProposalLost,
    "choice": notes.Picked,
    "votes": notes.Voted,
    "flaw": notes.AnswerFlawed,
    "repair": notes.FormatRetry,
    "read_ahead": notes.Prewarmed,
    "unread": notes.PrewarmFailed,
    "shrunk": notes.BudgetShrunk,
    "skipped": notes.LayerSkipped,
    "agreed": notes.EarlyExit,
    "differed": notes.EarlyExitDeclined,
    "step": notes.StaircaseStep,
    "step_failed": notes.StaircaseStepFailed,
    "withdrawn": notes.StaircaseRetracted,
    "no_staircase": notes.StaircaseSkipped,
    "quoted": notes.Estimated,
}
"""The kinds of notes that had another name in version 1. There, a note "queued" with `seconds` was the end of a wait,
and the role "prewarm" was "reading"."""


def _upgraded(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an event of version 1 as version 2 has it."""
    kind, type_ = str(record.get("kind")), record.get("type")
    if type_ == "note" and kind in _VERSION_1:
        return {**record, "kind": _VERSION_1[kind].kind}
    if type_ == "note" and kind == notes.Queued.kind and "seconds" in record.get("data", ()):
        return {**record, "kind": notes.Dequeued.kind}
    if type_ == "span_start":
        role = "prewarm" if record.get("role") == "reading" else record.get("role")
        return {**record, "role": role, **({"version": VERSION} if "version" in record else {})}
    return record
