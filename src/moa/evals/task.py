"""The values and contracts of an evaluation: task, sample, answer, scorer, score, metric.

A task holds samples. A model answers a sample, a scorer gives the answer its scores, and the task computes metrics from
the scores of one model.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..types import Message, Request, Response, Usage


@dataclass(frozen=True, slots=True)
class Sample:
    """One question.

    `messages` open the conversation. Each text in `then` is asked after the model's own answer to the turn before it.
    `reference` is what the scorer compares an answer with, in the scorer's own form. `options` are sampling options
    of this sample alone.
    """

    id: str
    messages: tuple[Message, ...]
    then: tuple[str, ...] = ()
    reference: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The text of the last opening message."""
        return self.messages[-1].text

    @property
    def cluster(self) -> str:
        """The cluster of samples that are versions of one another; by default the id."""
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
        """Return the cost of one after the other."""
        return AnswerCost(
            self.usage + other.usage,
            self.calls + other.calls,
            self.sequential_tokens + other.sequential_tokens,
            self.seconds + other.seconds,
            None if self.paid is None or other.paid is None else self.paid + other.paid,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer to a sample, with a text for each turn. With an `error` there are no texts."""

    sample: str
    model: str
    texts: tuple[str, ...] = ()
    cost: AnswerCost = AnswerCost()
    error: str | None = None

    @property
    def text(self) -> str:
        """The answer to the last turn."""
        return self.texts[-1] if self.texts else ""


@dataclass(frozen=True, slots=True)
class Score:
    """One score of an answer. Each task documents the names and ranges of its scores.

    `value` is `None` if the judge's reply could not be read, or the skill does not apply. `detail` is the evidence, as
    JSON: the judge's words, log-probabilities, what was extracted.
    """

    name: str
    value: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoredSample:
    """A sample with a model's answer and its scores. `cost` is that of scoring; with an `error` scoring failed."""

    sample: Sample
    answer: Answer
    scores: tuple[Score, ...] = ()
    cost: AnswerCost = AnswerCost()
    error: str | None = None

    @property
    def first(self) -> float | None:
        """The value of the first score, or `None`."""
        return self.scores[0].value if self.scores else None

    @property
    def failure(self) -> str | None:
        """Why the sample has no answer or no score, or `None`."""
        return self.answer.error or self.error

    def value(self, name: str) -> float | None:
        """Return the value of the score with this name, or `None`."""
        return next((score.value for score in self.scores if score.name == name), None)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a report, with its confidence interval (`None`: unknown) and the number of samples in it, `n`.

    `note` is what a reader must know to use the number, such as "not comparable: another judge".
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: str = ""
    note: str = ""


BASELINE = "the baseline"
"""The note of the metrics of the model that the others are compared with."""

Judge = Callable[[Request], Awaitable[Response]]
"""Calls the judge with the role "judge", so the call is traced, priced and cached like any other."""


@dataclass(frozen=True)
class ScoringContext:
    """What a scorer may use besides the answer: the `judge`, and the `baseline`'s answer to the same sample.

    Either is `None` if the evaluation has none; see `Scorer.needs`.
    """

    judge: Judge | None = None
    baseline: Answer | None = None

    async def ask(self, request: Request) -> Response:
        """Call the judge. Only for scorers with "judge" in `needs`."""
        assert self.judge, 'a scorer that calls a judge has "judge" in `needs`'
        return await self.judge(request)


class Scorer(Protocol):
    """Scores an answer."""

    @property
    def needs(self) -> frozenset[str]:
        """Which of "judge" and "baseline" (the answers of the first model) the scorer requires."""
        ...

    async def score(self, sample: Sample, answer: Answer, context: ScoringContext) -> Sequence[Score]:
        """Return the scores of an answer. Raises `ModelError` when the judge does not answer."""
        ...


class Task(Protocol):
    """Samples, how to ask them, how to score an answer, and how to summarize the scores."""

    @property
    def name(self) -> str: ...

    @property
    def samples(self) -> Sequence[Sample]: ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Sampling options of every request, such as max_tokens. The options of a sample override them."""
        ...

    @property
    def scorer(self) -> Scorer: ...

    @property
    def version(self) -> str:
        """A digest of data, prompts and rules."""
        ...

    def metrics(self, scored: Sequence[ScoredSample]) -> Sequence[Metric]:
        """Return the metrics of one model, the headline first. The samples are in their order."""
        ...
