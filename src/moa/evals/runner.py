"""Asks every model every sample of a benchmark, and has every answer scored.

What is in the results folder already is not asked again, and below that every single call goes through the call cache
of the models (`Builder(..., calls=...)`): an evaluation that was stopped or killed goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from ..batch import AT_ONCE, pooled
from ..errors import ConfigError, ModelError
from ..events import Event
from ..model import Model
from ..sinks import EventSink
from ..span import CallSpec, Span, generate
from ..trace.tree import Trace
from ..types import Message, Request, Response
from .results_folder import Folder
from .sample import Answer, AnswerCost, Metric, Sample, Score, Scored
from .spending import SpendingLimit, answer_cost
from .task import ScoringContext, Task


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is. `asked` are those of the `done` that were not there from an earlier run; `paid`, in US
    dollars, is for those too."""

    done: int
    asked: int
    total: int
    failed: int
    paid: float


@dataclass(frozen=True)
class Results:
    """What came of an evaluation: for each model the samples that were answered, in their order, and its figures.

    `complete` is false where it ended before its end.
    """

    scored: Mapping[str, Sequence[Scored]]
    figures: Mapping[str, Sequence[Metric]]
    complete: bool


async def evaluate(
    benchmark: Task,
    models: Mapping[str, Model],
    *,
    judge: Model | None = None,
    folder: Folder | None = None,
    seed: int | None = None,
    at_once: int = AT_ONCE,
    spend: float | None = None,
    tell: Callable[[Progress], None] = lambda progress: None,
    emit: EventSink | None = None,
) -> Results:
    """Ask the models, by their names, and score what they answer; the first is the baseline where one is needed.

    `folder` keeps what is there and is asked what is; `at_once` questions are under way at the same time. `spend` is
    the most it may cost in US dollars, over all restarts. `tell` is told how far it is, `emit` the events of every
    call. What a model fails at is in the results; a bug ends it. Raises `ConfigError` where something is missing.
    """
    check_needs(benchmark, len(models), judge is not None)
    needs = benchmark.scorer.needs
    asker = _Asker(benchmark, models, judge, folder, seed, emit, next(iter(models)) if "baseline" in needs else None)
    purse = SpendingLimit(spend, folder.paid if folder else 0.0)
    found: dict[tuple[str, str], Scored] = {}
    asked: set[tuple[str, str]] = set()

    async def work(job: tuple[Sample, str]) -> Scored | None:
        sample, name = job
        if known := asker.known(sample, name):
            return known
        async with purse.question(name) as begun:
            if not begun:
                return None
            scored = await asker.scored(sample, name)
            asked.add((sample.id, name))
            purse.pay(name, (scored.answer.bill + scored.bill).paid)
            return scored

    def jobs() -> Iterator[tuple[Sample, str]]:
        for sample in benchmark.samples:
            for name in models:
                if purse.reached:
                    return
                yield sample, name

    keys = [(sample.id, name) for sample in benchmark.samples for name in models]
    failed = 0
    try:
        async with aclosing(pooled(jobs(), work, at_once)) as results:  # type: ignore[type-var]
            async for (sample, name), scored in results:
                if scored is not None:
                    found[sample.id, name] = scored
                    failed += bool(scored.answer.error or scored.error)
                    tell(Progress(len(found), len(asked), len(keys), failed, purse.paid))
    finally:
        asker.stop()
    ordered = {name: [found[key] for key in keys if key[1] == name and key in found] for name in models}
    figures = {name: benchmark.figures(scored) for name, scored in ordered.items()}
    if folder:
        folder.finish(figures)
    return Results(ordered, figures, len(found) == len(keys))


def check_needs(benchmark: Task, models: int, judge: bool) -> None:
    """Raise `ConfigError` where a benchmark needs more than there is: a judge, a model to compare with."""
    needs = benchmark.scorer.needs
    if "judge" in needs and not judge:
        raise ConfigError(f"{benchmark.name} is scored by a judge; name one with --judge")
    if "baseline" in needs and models < 2:
        raise ConfigError(f"{benchmark.name} compares models with the first one named; name at least two")


@dataclass
class _Asker:
    """Asks and has scored, and keeps what comes of it."""

    benchmark: Task
    models: Mapping[str, Model]
    judge: Model | None
    folder: Folder | None
    seed: int | None
    emit: EventSink | None
    baseline: str | None
    asked: dict[tuple[str, str], asyncio.Task[Answer]] = field(default_factory=dict)

    def known(self, sample: Sample, name: str) -> Scored | None:
        """An answer that needs nothing more, with its scores."""
        answer = self._kept(sample, name)
        if answer is None or self.folder is None:
            return None
        if name == self.baseline:
            return Scored(sample, answer)
        scored = self.folder.scored.get((sample.id, name))
        return replace(scored, sample=sample) if scored and not scored.error else None

    async def scored(self, sample: Sample, name: str) -> Scored:
        """The model's answer with its scores."""
        answer = await self._answer(sample, name)
        if answer.error is not None or name == self.baseline:
            return Scored(sample, answer)
        baseline = await self._answer(sample, self.baseline) if self.baseline else None
        if baseline and baseline.error is not None:
            scored = Scored(sample, answer, error=f"the baseline has no answer: {baseline.error}")
        else:
            scored = await self._judged(sample, answer, baseline)
        if self.folder:
            self.folder.add_scored(scored)
        return scored

    def stop(self) -> None:
        """Cancel what is still asked."""
        for task in self.asked.values():
            task.cancel()

    def _kept(self, sample: Sample, name: str) -> Answer | None:
        answer = self.folder.answers.get((sample.id, name)) if self.folder else None
        return answer if answer and answer.error is None else None

    async def _answer(self, sample: Sample, name: str) -> Answer:
        """The model's answer, asked for once however many want it."""
        if kept := self._kept(sample, name):
            return kept
        task = self.asked.get((sample.id, name))
        if task is None:
            task = self.asked[sample.id, name] = asyncio.create_task(self._ask(sample, name))
        return await asyncio.shield(task)

    async def _ask(self, sample: Sample, name: str) -> Answer:
        messages, texts, spent, error = sample.messages, list[str](), AnswerCost(), None
        for turn in (None, *sample.then):
            if turn is not None:
                messages = (*messages, Message("assistant", texts[-1]), Message("user", turn))
            options = {"seed": self.seed, **self.benchmark.options, **sample.options}
            response, took = await self._called(self.models[name], Request(messages, **options))
            spent += took
            if isinstance(response, ModelError):
                texts, error = [], str(response)
                break
            texts.append(response.text)
        answer = Answer(sample.id, name, tuple(texts), spent, error)
        if self.folder:
            self.folder.add_answer(answer)
        return answer

    async def _judged(self, sample: Sample, answer: Answer, baseline: Answer | None) -> Scored:
        scorer, judge = self.benchmark.scorer, self.judge
        if "judge" not in scorer.needs or judge is None:
            return Scored(sample, answer, tuple(await scorer.score(sample, answer, ScoringContext(baseline=baseline))))
        scores: list[Score] = []
        questions = 0

        async def work(span: Span) -> str:
            async def ask(request: Request) -> Response:
                nonlocal questions
                questions += 1
                return await span.call(judge, request, CallSpec("judge"))

            judging = ScoringContext(ask, baseline)
            scores.extend(await scorer.score(sample, answer, judging))
            return ", ".join(f"{one.name}: {one.value}" for one in scores) or "no scores"

        asked = Request((Message("user", f"How good is the answer of {answer.model} to {sample.id}?"),))
        response, took = await self._called(_Scoring(self.benchmark.name, work), asked)
        error = str(response) if isinstance(response, ModelError) else None
        return Scored(sample, answer, () if error else tuple(scores), took if questions else AnswerCost(), error)

    async def _called(self, model: Model, request: Request) -> tuple[Response | ModelError, AnswerCost]:
        """What the model answers, or why it did not, and what that took."""
        trace = Trace()

        def heard(event: Event) -> None:
            trace.add(event)
            if self.emit:
                self.emit(event)

        try:
            response: Response | ModelError = await generate(model, request, heard)
        except ModelError as error:
            response = error
        return response, answer_cost(trace)


@dataclass(frozen=True)
class _Scoring:
    """Scoring as a run of its own, so that the judge's calls are seen in it as calls."""

    name: str
    work: Callable[[Span], Any]

    async def generate(self, request: Request, span: Span) -> Response:
        return Response(self.name, await self.work(span))
