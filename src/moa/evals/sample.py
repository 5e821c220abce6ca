"""The values of an evaluation: what is asked, what was answered, how good that was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..types import Message, Usage


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing to ask.

    `messages` open the conversation; each of the texts in `then` is asked after the model's own answer to what was
    before it. `reference` is what a scorer compares the answer with, in the scorer's own form; `None` is nothing.
    `options` are sampling options of this sample alone.
    """

    id: str
    messages: tuple[Message, ...]
    then: tuple[str, ...] = ()
    reference: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The words of the last message that opens the conversation."""
        return self.messages[-1].text

    @property
    def cluster(self) -> str:
        """What samples share that are versions of one another; else its id."""
        return str(self.metadata.get("cluster", self.id))


@dataclass(frozen=True, slots=True)
class AnswerCost:
    """What an answer took, whether it was paid now or in an earlier run of the same evaluation.

    `calls` counts calls to single models. `sequential_tokens` and `seconds` are those of the longest path: what a
    caller of this model alone would wait for. `paid` is the part of the cost that was paid now, in US dollars, so
    without answers from the call cache.
    """

    usage: Usage = Usage(cost=0.0)
    calls: int = 0
    sequential_tokens: int = 0
    seconds: float = 0.0
    paid: float | None = 0.0

    def __add__(self, other: AnswerCost) -> AnswerCost:
        """Both, one after the other."""
        paid = None if self.paid is None or other.paid is None else self.paid + other.paid
        return AnswerCost(
            self.usage + other.usage,
            self.calls + other.calls,
            self.sequential_tokens + other.sequential_tokens,
            self.seconds + other.seconds,
            paid,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered to a sample: a text for each turn. With an `error` there is no answer, and no text."""

    sample: str
    model: str
    texts: tuple[str, ...] = ()
    bill: AnswerCost = AnswerCost()
    error: str | None = None

    @property
    def text(self) -> str:
        """The answer to the last turn."""
        return self.texts[-1] if self.texts else ""


@dataclass(frozen=True, slots=True)
class Score:
    """One score of an answer. A benchmark says what its scores are called and what they range over.

    `value` is `None` where there is none: the judge's reply could not be read, or the skill does not apply. `detail` is
    what the score rests on, as JSON: the judge's words, the log-probabilities, what was extracted.
    """

    name: str
    value: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer with its scores. `bill` is what judging took; with an `error` it could not be scored."""

    sample: Sample
    answer: Answer
    scores: tuple[Score, ...] = ()
    bill: AnswerCost = AnswerCost()
    error: str | None = None

    @property
    def first(self) -> float | None:
        """The value of the first score, or `None`."""
        return self.scores[0].value if self.scores else None

    def value(self, name: str) -> float | None:
        """The value of the score of this name, or `None`."""
        return next((score.value for score in self.scores if score.name == name), None)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a report, with the interval it is likely in (`None`: no interval is known) and what it rests on.

    `n` is how many samples count in it; `note` what a reader must know of it, such as "not comparable: another judge".
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: str = ""
    note: str = ""
