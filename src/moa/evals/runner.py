"""Asks every model every sample of a task, and scores the answers.

Answers in the results folder are not asked again, and every call goes through the call cache of the models
(`Builder(..., cache=...)`). So an evaluation that was stopped or killed continues.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from ..api import MAX_CONCURRENCY, map_unordered
from ..errors import ConfigError, ModelError
from ..events import Event
from ..model import Model
from ..sinks import EventSink
from ..span import CallSpec, Span, generate
from ..trace.tree import Trace
from ..types import Message, Request, Response
from .results_folder import Key, ResultsFolder
from .spending import SpendingLimit, answer_cost
from .task import Answer, AnswerCost, Metric, Sample, Score, ScoredSample, ScoringContext, Task


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an evaluation. Of the `done` samples, `new` were answered in this run.

    `paid` is in US dollars, earlier runs included.
    """

    done: int
    new: int
    total: int
    failed: int
    paid: float


@dataclass(frozen=True)
class Results:
    """The results of an evaluation by model: answered samples in their order, and metrics.

    `complete` is false if the limit on the cost stopped it.
    """

    scored: Mapping[str, Sequence[ScoredSample]]
    metrics: Mapping[str, Sequence[Metric]]
    complete: bool


async def evaluate(
    task: Task,
    models: Mapping[str, Model],
    *,
    judge: Model | None = None,
    folder: ResultsFolder | None = None,
    seed: int | None = None,
    max_concurrency: int = MAX_CONCURRENCY,
    max_cost: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    emit: EventSink | None = None,
) -> Results:
    """Ask models, by their names, and score their answers. The first is the baseline, if the scorer needs one.

    Existing answers are read from `folder`, and new ones are stored in it. `max_concurrency` questions run at the same
    time. `max_cost` is in US dollars, over all restarts. `emit` gets the events of every call. Failed calls are
    in the results; other exceptions propagate. Raises `ConfigError` if the scorer needs more than is given.
    """
    check_needs(task, len(models), judge is not None)
    baseline = next(iter(models)) if "baseline" in task.scorer.needs else None
    evaluation = _Evaluation(task, models, judge, folder, seed, emit, baseline)
    limit = SpendingLimit(max_cost, folder.paid if folder else 0.0)
    done: dict[Key, ScoredSample] = {}
    new: set[Key] = set()

    async def work(job: tuple[Sample, str]) -> ScoredSample | None:
        sample, name = job
        if known := evaluation.known(sample, name):
            return known
        async with limit.question(name) as started:
            if not started:
                return None
            scored = await evaluation.scored(sample, name)
            new.add((sample.id, name))
            limit.pay(name, (scored.answer.cost + scored.cost).paid)
            return scored

    def jobs() -> Iterator[tuple[Sample, str]]:
        for sample in task.samples:
            for name in models:
                if limit.reached:
                    return
                yield sample, name

    keys = [(sample.id, name) for sample in task.samples for name in models]
    failed = 0
    try:
        async with aclosing(map_unordered(work, jobs(), max_concurrency)) as results:  # type: ignore[type-var]
            async for (sample, name), scored in results:
                if scored is not None:
                    done[sample.id, name] = scored
                    failed += scored.failure is not None
                    on_progress(Progress(len(done), len(new), len(keys), failed, limit.paid))
    finally:
        evaluation.cancel()
    ordered = {name: [done[key] for key in keys if key[1] == name and key in done] for name in models}
    metrics = {name: task.metrics(scored) for name, scored in ordered.items()}
    if folder:
        folder.finish(metrics)
    return Results(ordered, metrics, len(done) == len(keys))


def check_needs(task: Task, models: int, judge: bool) -> None:
    """Raise `ConfigError` if the scorer of a task needs a judge or a baseline that is not given."""
    needs = task.scorer.needs
    if "judge" in needs and not judge:
        raise ConfigError(f"{task.name}: needs a judge; add --judge MODEL")
    if "baseline" in needs and models < 2:
        raise ConfigError(f"{task.name}: compares models with the first one, got {models}; add another -m MODEL")


@dataclass
class _Evaluation:
    """Asks and scores samples, and stores the results."""

    task: Task
    models: Mapping[str, Model]
    judge: Model | None
    folder: ResultsFolder | None
    seed: int | None
    emit: EventSink | None
    baseline: str | None
    pending: dict[Key, asyncio.Task[Answer]] = field(default_factory=dict)

    def known(self, sample: Sample, name: str) -> ScoredSample | None:
        """Return the stored result of a sample if it is complete."""
        answer = self._stored(sample, name)
        if answer is None or self.folder is None:
            return None
        if name == self.baseline:
            return ScoredSample(sample, answer)
        scored = self.folder.scored.get((sample.id, name))
        return replace(scored, sample=sample) if scored and not scored.error else None

    async def scored(self, sample: Sample, name: str) -> ScoredSample:
        """Return the model's answer with its scores."""
        answer = await self._answer(sample, name)
        if answer.error is not None or name == self.baseline:
            return ScoredSample(sample, answer)
        baseline = await self._answer(sample, self.baseline) if self.baseline else None
        if baseline and baseline.error is not None:
            scored = ScoredSample(sample, answer, error=f"the baseline has no answer: {baseline.error}")
        else:
            scored = await self._score(sample, answer, baseline)
        if self.folder:
            self.folder.add_scores(scored)
        return scored

    def cancel(self) -> None:
        """Cancel pending calls."""
        for pending in self.pending.values():
            pending.cancel()

    def _stored(self, sample: Sample, name: str) -> Answer | None:
        answer = self.folder.answers.get((sample.id, name)) if self.folder else None
        return answer if answer and answer.error is None else None

    async def _answer(self, sample: Sample, name: str) -> Answer:
        """Return the model's answer. Concurrent callers share one request."""
        if stored := self._stored(sample, name):
            return stored
        key = (sample.id, name)
        if key not in self.pending:
            self.pending[key] = asyncio.create_task(self._ask(sample, name))
        return await asyncio.shield(self.pending[key])

    async def _ask(self, sample: Sample, name: str) -> Answer:
        messages, texts, cost, error = sample.messages, list[str](), AnswerCost(), None
        for turn in (None, *sample.then):
            if turn is not None:
                messages = (*messages, Message("assistant", texts[-1]), Message("user", turn))
            options = {"seed": self.seed, **self.task.options, **sample.options}
            response, took = await self._call(self.models[name], Request(messages, **options))
            cost += took
            if isinstance(response, ModelError):
                texts, error = [], str(response)
                break
            texts.append(response.text)
        answer = Answer(sample.id, name, tuple(texts), cost, error)
        if self.folder:
            self.folder.add_answer(answer)
        return answer

    async def _score(self, sample: Sample, answer: Answer, baseline: Answer | None) -> ScoredSample:
        scorer, judge = self.task.scorer, self.judge
        if "judge" not in scorer.needs or judge is None:
            context = ScoringContext(baseline=baseline)
            return ScoredSample(sample, answer, tuple(await scorer.score(sample, answer, context)))
        scores: list[Score] = []
        questions = 0

        async def work(span: Span) -> str:
            async def ask(request: Request) -> Response:
                nonlocal questions
                questions += 1
                return await span.call(judge, request, CallSpec("judge"))

            scores.extend(await scorer.score(sample, answer, ScoringContext(ask, baseline)))
            return ", ".join(f"{score.name}: {score.value}" for score in scores) or "no scores"

        request = Request((Message("user", f"How good is the answer of {answer.model} to {sample.id}?"),))
        response, took = await self._call(_Scoring(self.task.name, work), request)
        error = str(response) if isinstance(response, ModelError) else None
        cost = took if questions else AnswerCost()
        return ScoredSample(sample, answer, () if error else tuple(scores), cost, error)

    async def _call(self, model: Model, request: Request) -> tuple[Response | ModelError, AnswerCost]:
        """Return the response of a model, or the error it failed with, and the cost."""
        trace = Trace()

        def on_event(event: Event) -> None:
            trace.add(event)
            if self.emit:
                self.emit(event)

        try:
            response: Response | ModelError = await generate(model, request, on_event)
        except ModelError as error:
            response = error
        return response, answer_cost(trace)


@dataclass(frozen=True)
class _Scoring:
    """Scoring as a run of its own, so that the calls of the judge are traced in it."""

    name: str
    work: Callable[[Span], Any]

    async def generate(self, request: Request, span: Span) -> Response:
        return Response(self.name, await self.work(span))
