"""The JSON objects that the CLI prints and the HTTP API returns, as types. The API's schemas are derived from them.

Import this module for annotations only, or where pydantic is loaded anyway: it is not needed to run a model.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

State = Literal["running", "answered", "failed", "stopped", "unfinished"]
"""The state of a run. An unfinished one was cut off: its process has ended."""


Role = Literal["root", "proposer", "aggregator", "judge"]


class UsedJSON(TypedDict):
    input_tokens: int
    output_tokens: int
    cost: float | None  # US dollars, null if unknown
    estimated: NotRequired[bool]


class NoteJSON(TypedDict):
    """A note of a call. The fields of its kind stand beside these two."""

    time: float
    kind: str


class CallJSON(TypedDict):
    """A call and all calls below it. Times are in seconds since the run began."""

    span: str
    role: str
    model: str
    layer: NotRequired[int]
    index: NotRequired[int]
    started: float
    first_word: NotRequired[float]
    ended: NotRequired[float]
    error: NotRequired[str]
    finish_reason: NotRequired[str]
    usage: NotRequired[UsedJSON]
    text: NotRequired[str]
    notes: NotRequired[list[NoteJSON]]
    calls: NotRequired[list[CallJSON]]


class LostJSON(TypedDict):
    model: str
    layer: int | None
    error: str


class TimingJSON(TypedDict):
    total: float
    first_word: float | None


class SummaryJSON(TypedDict):
    """An answered run. Times are in seconds."""

    run: str
    model: str
    answer: str
    finish_reason: str
    fallback: NotRequired[str]
    usage: UsedJSON
    references: list[dict[str, Any]]
    lost: list[LostJSON]
    early_exits: NotRequired[list[dict[str, Any]]]
    estimate: NotRequired[EstimateJSON]
    timing: TimingJSON


class ListedRunJSON(TypedDict):
    """A run in a list of runs."""

    id: str
    started: str
    model: str
    state: State
    question: str | None
    parent: str | None
    error: str | None
    owner: str | None
    seconds: float | None
    first_word: float | None
    cost: float | None
    calls: int | None
    lost: int | None
    input_tokens: int | None
    output_tokens: int | None


class SpreadJSON(TypedDict):
    """Percentiles in seconds."""

    p50: float
    p90: float
    p95: float
    p99: float


class FiguresJSON(TypedDict):
    """What one model took in one role of one mixture; in the role "root", whole runs."""

    mixture: str
    role: Role
    model: str
    day: NotRequired[str]
    calls: int
    lost: int
    cached: int
    retries: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    seconds: SpreadJSON | None
    first_word: SpreadJSON | None
    share: float | None
    traced: int


class EstimateJSON(TypedDict):
    """What a run is likely to take."""

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    runs: int
    cost: float | None
    seconds: float | None
    at_most: float | None
    unknown: list[str]
    known: bool


class SourceJSON(TypedDict):
    """A passage of a proposal that a sentence comes from, or that it contradicts."""

    proposal: int
    relation: Literal["supports", "contradicts"]
    strength: float
    start: int
    end: int
    why: str | None


class SentenceJSON(TypedDict):
    start: int
    end: int
    kind: Literal["prose", "heading", "row", "code"]
    own: bool
    sources: list[SourceJSON]
    lacks: list[int]


class ShareJSON(TypedDict):
    """A proposal, and its share of the answer from 0 to 1."""

    model: str
    span: str | None
    share: float


class ProvenanceJSON(TypedDict):
    proposals: list[ShareJSON]
    own: float
    sentences: list[SentenceJSON]
