"""The contract of a benchmark: samples, how they are asked, how an answer is scored, and what the scores come to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..types import Request, Response
from .sample import Answer, Metric, Sample, Score, Scored

Judge = Callable[[Request], Awaitable[Response]]
"""Asks the judge: a call with the role "judge", so it is traced, priced and cached like any other."""


@dataclass(frozen=True)
class ScoringContext:
    """What a scorer may use besides the answer: the `judge`, and the `baseline`'s answer to the same sample.

    Either is `None` where the evaluation has none; see `Scorer.needs`.
    """

    judge: Judge | None = None
    baseline: Answer | None = None

    async def ask(self, request: Request) -> Response:
        """Ask the judge. Only for a scorer that says it needs one."""
        assert self.judge, "a scorer that asks a judge says so in `needs`"
        return await self.judge(request)


class Scorer(Protocol):
    """Says how good an answer is."""

    @property
    def needs(self) -> frozenset[str]:
        """Which of "judge" and "baseline" (the answers of the first model named) it cannot do without."""
        ...

    async def score(self, sample: Sample, answer: Answer, judging: ScoringContext) -> Sequence[Score]:
        """The scores of an answer. Raises `ModelError` when the judge does not answer."""
        ...


class Task(Protocol):
    """Something models can be evaluated on."""

    @property
    def name(self) -> str: ...

    @property
    def samples(self) -> Sequence[Sample]: ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Sampling options of every request, such as max_tokens; a sample's own come before them."""
        ...

    @property
    def scorer(self) -> Scorer: ...

    @property
    def version(self) -> str:
        """What changes when the data, the prompts or the rules do: a digest of them."""
        ...

    def figures(self, scored: Sequence[Scored]) -> Sequence[Metric]:
        """What the scores of one model come to, the headline first. Called with the samples in their order."""
        ...
