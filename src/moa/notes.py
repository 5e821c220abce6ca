"""The notes of a run: what a call reports besides its text and its end, one frozen class for each kind.

In JSON, a note is `{"type": "note", "span": ..., "time": ..., "kind": "retry", "data": {"attempt": 1, ...}}`. A field
whose default is `None` is left out of `data` while it is `None`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass_transform(frozen_default=True)
class NoteData:
    """What a note reports. A subclass is a kind of note and declares its fields as a frozen dataclass does.

    A kind of your own is a subclass too; when it is read back from JSON, it is an `UnknownNote`. (Real dataclasses
    would add a tenth to the time of `import moa`: there are thirty of these.)
    """

    kind: ClassVar[str]
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.__match_args__ = tuple(cls.__annotations__)  # type: ignore[misc]

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self.__match_args__
        given = {**dict(zip(fields, values, strict=False)), **named}
        missing = [field for field in fields if field not in given and not hasattr(type(self), field)]
        if missing or len(values) + len(named) != len(given) or not given.keys() <= set(fields):
            raise TypeError(f"{type(self).__name__} takes {', '.join(fields) or 'nothing'}, got {values}, {named}")
        self.__dict__.update(given)

    def as_json(self) -> dict[str, Any]:
        """Return the fields, without those that are `None` by default."""
        optional = vars(type(self))
        values = {field: getattr(self, field) for field in self.__match_args__}
        return {field: value for field, value in values.items() if value is not None or field not in optional}

    def __setattr__(self, field: str, value: Any) -> None:
        raise FrozenInstanceError(f"cannot assign to field {field!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.as_json() == other.as_json()

    def __hash__(self) -> int:
        return hash((type(self), *self.as_json().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{field}={value!r}' for field, value in self.as_json().items())})"


class Queued(NoteData):
    """The call waits for a free slot of its provider or engine."""

    kind = "queued"


class Dequeued(NoteData):
    """The call has its slot, after `seconds` in the queue."""

    seconds: float
    kind = "dequeued"


class Downloading(NoteData):
    """The model's weights are downloaded, on first use: `done` of `total` bytes."""

    done: int
    total: int
    kind = "downloading"


class Retry(NoteData):
    """Attempt number `attempt` failed with `error`; the next one follows in `wait` seconds. Its text so far is void."""

    attempt: int
    wait: float
    error: str
    kind = "retry"


class Hedged(NoteData):
    """The same call was made a second time, as there was no answer after `after` seconds."""

    after: float
    kind = "hedged"


class Cached(NoteData):
    """The answer comes from the cache. When it was made it took these tokens, `cost` in US dollars, and `seconds`."""

    input_tokens: int
    output_tokens: int
    cost: float | None
    seconds: float
    kind = "cached"


class OptionsDropped(NoteData):
    """These `options` of the request were not sent, as the provider does not support them."""

    options: tuple[str, ...]
    kind = "options_dropped"


class RequestRewritten(NoteData):
    """The conversation as it was sent, where a wrapper changed the request that the call began with."""

    messages: tuple[dict[str, Any], ...]
    kind = "request_rewritten"


class Replayed(NoteData):
    """The answer is the one of the stored run `of`."""

    of: str
    kind = "replayed"


class ReferencesWindowed(NoteData):
    """The references do not fit the context window of `model`: this call reads `holds` of them; `done` of all `of` were
    read before."""

    model: str
    holds: int
    of: int
    done: int
    kind = "references_windowed"


class ReferenceDropped(NoteData):
    """The proposal of `model` is not read, since no window can hold it."""

    model: str
    reason: str
    kind = "reference_dropped"


class ProposalLost(NoteData):
    """The proposer with this `index` (from 0) of the layer gave no proposal, because of `error`."""

    model: str
    index: int
    error: str
    kind = "proposal_lost"


class Picked(NoteData):
    """The judge picked the proposal of this `number` (from 1)."""

    number: int
    model: str
    kind = "picked"


class Voted(NoteData):
    """The answers that were voted for, each with its number of votes, the most first."""

    votes: tuple[tuple[str, int], ...]
    kind = "voted"


class Fallback(NoteData):
    """Another answer is used because of `error`: a fallback model's or aggregator's. Where the aggregator failed,
    `model` is the proposer whose proposal is the answer."""

    error: str
    model: str | None = None
    kind = "fallback"


class AnswerFlawed(NoteData):
    """The answer has a `flaw`, but is not replaced, as it was already streamed."""

    flaw: str
    kind = "answer_flawed"


class FormatRetry(NoteData):
    """The answer does not follow the response format, because of `problem`; the aggregator is asked again."""

    problem: str
    kind = "format_retry"


class Prewarmed(NoteData):
    """The prompt was read before its call began: `tokens` of it were known, `read` of them computed for this.

    It took `times` requests and `seconds`; the call waited about `saved` seconds less.
    """

    tokens: int
    read: int
    times: int
    seconds: float
    saved: float
    kind = "prewarmed"


class PrewarmFailed(NoteData):
    """Prewarming the prompt cache of `model` failed. The call is made all the same."""

    model: str
    error: str
    kind = "prewarm_failed"


class BudgetShrunk(NoteData):
    """To keep within the budget, the proposers `left_out` of the layer are not asked."""

    layer: int
    left_out: tuple[str, ...]
    reason: str
    kind = "budget_shrunk"


class LayerSkipped(NoteData):
    """A layer after the first failed; the proposals before it are used."""

    layer: int
    error: str
    kind = "layer_skipped"


class EarlyExit(NoteData):
    """The proposals of a layer agree: their `agreement` reaches the `threshold`, `by` words or by a judge.

    What stands in `skipped` is not asked, which saves this many `calls` of the mixture and about `cost` US dollars.
    """

    layer: int
    threshold: float
    agreement: float
    by: str
    skipped: tuple[str, ...]
    calls: int
    cost: float | None
    kind = "early_exit"


class EarlyExitDeclined(NoteData):
    """The proposals of a layer do not agree enough for an early exit."""

    layer: int
    threshold: float
    agreement: float
    by: str
    kind = "early_exit_declined"


class StaircaseStep(NoteData):
    """The aggregator writes step `number`, with parts of `shown` proposals, of which `complete` are complete."""

    number: int
    shown: int
    complete: int
    kind = "staircase_step"


class StaircaseStepFailed(NoteData):
    """A step failed. The aggregator waits for the complete proposals."""

    error: str
    kind = "staircase_step_failed"


class StaircaseRetracted(NoteData):
    """The aggregator was informed that proposal `number`, of which it had seen a part, is withdrawn."""

    model: str
    number: int
    kind = "staircase_retracted"


class StaircaseSkipped(NoteData):
    """Why this request is answered without a staircase."""

    reason: str
    kind = "staircase_skipped"


class Rerun(NoteData):
    """The run repeats the stored run `of`, with this `changed`."""

    of: str
    changed: str
    kind = "rerun"


class Estimated(NoteData):
    """The estimate for the run, made before it began: its calls, tokens, cost in US dollars, and time in seconds.

    It rests on `runs` stored runs of the same model; `unknown` are the models of which no call is stored. 95 of 100
    runs took no longer than `at_most`. `known` is false if the estimate rests on assumptions alone.
    """

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    seconds: float | None
    at_most: float | None
    runs: int
    unknown: tuple[str, ...]
    known: bool
    kind = "estimated"


KINDS: Mapping[str, type[NoteData]] = {note.kind: note for note in NoteData.__subclasses__()}
"""The kinds of notes that this package writes."""


class UnknownNote(NoteData):
    """A note of a kind that this version does not know, or one with other fields. It is kept and passed on."""

    kind: str  # type: ignore[misc]
    data: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return dict(self.data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnknownNote) and (self.kind, self.data) == (other.kind, other.data)

    __hash__ = NoteData.__hash__


def from_json(kind: str, data: Mapping[str, Any]) -> NoteData:
    """Return the note of this kind with these fields; an `UnknownNote` if they do not fit."""
    known = KINDS.get(kind)
    if known is None:
        return UnknownNote(kind, data)
    try:
        return known(**vars(_validator(kind).model_validate(data)))
    except ValueError:
        return UnknownNote(kind, data)


@cache
def _validator(kind: str) -> type[BaseModel]:
    """Return what validates the fields of a kind, and makes tuples of the lists in them."""
    from typing import get_type_hints

    from pydantic import create_model

    note = KINDS[kind]
    hints = get_type_hints(note)
    fields = {field: (hints[field], vars(note).get(field, ...)) for field in note.__match_args__}
    return create_model(note.__name__, **fields)  # type: ignore[call-overload, no-any-return]
