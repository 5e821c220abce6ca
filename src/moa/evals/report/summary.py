"""What a results folder shows of each model: its metrics, what an answer takes, a verdict and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..results_folder import ResultsFolder
from ..scorers.pairwise import SWAPPED
from ..stats import validity
from ..stats.bootstrap import Interval, mean_interval
from ..stats.validity import Flag
from ..task import BASELINE, Metric, Sample, ScoredSample

Field = Literal["cost", "input_tokens", "output_tokens", "calls", "sequential_tokens", "seconds"]

Tone = Literal["good", "bad", "open", "plain"]

Verdict = tuple[str, Tone]
"""A sentence, and its tone on the page."""


@dataclass(frozen=True, slots=True)
class ModelResult:
    """A model of an evaluation. Its first metric is the headline."""

    name: str
    metrics: Sequence[Metric]
    scored: Sequence[ScoredSample]

    @property
    def headline(self) -> Metric:
        return self.metrics[0]

    def mean(self, field: Field) -> float | None:
        """Return the mean of a field of the cost per sample; `None` if it is unknown for any sample."""
        costs = [one.answer.cost for one in self.scored if one.answer.error is None]
        in_usage = field in ("cost", "input_tokens", "output_tokens")
        values = [getattr(cost.usage if in_usage else cost, field) for cost in costs]
        return None if not values or None in values else sum(values) / len(values)

    @property
    def tokens(self) -> float:
        """The mean of input and output tokens per sample."""
        return (self.mean("input_tokens") or 0.0) + (self.mean("output_tokens") or 0.0)


def format_value(metric: Metric) -> str:
    """Return the value of a metric with its unit."""
    return " ".join(part for part in (format_number(metric.value), metric.unit) if part)


def format_interval(metric: Metric) -> str:
    """Return the interval of a metric, or ""."""
    if metric.low is None or metric.high is None:
        return ""
    return f"{format_number(metric.low)} .. {format_number(metric.high)}"


def in_brackets(text: str) -> str:
    """Return a text in brackets after a space, or "" for none."""
    return f" ({text})" if text else ""


def format_number(value: float | None) -> str:
    """Return a number with three significant digits, or one decimal from 10 on."""
    return "–" if value is None else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def format_count(value: float | None) -> str:
    """Return a mean of counts."""
    return "–" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def leading_model(models: Sequence[ModelResult]) -> Verdict:
    """Return which model did best on the same samples, and whether that may be luck."""
    known = [model for model in models if model.headline.value is not None]
    best, *others = sorted(known, key=lambda model: -(model.headline.value or 0.0))
    interval = in_brackets(format_interval(best.headline))
    sentence = f"{best.name}: {format_value(best.headline)} {best.headline.name}{interval}"
    if not others:
        return f"{sentence}.", "plain"
    if any(model.headline.note == BASELINE for model in models):
        return _against_baseline(best, others, sentence)
    second = others[0]
    next_best = f"{second.name} with {format_value(second.headline)}"
    low, high = _difference(best.scored, second.scored)
    if low is None or high is None:
        return f"{sentence}; next is {next_best}.", "open"
    scale, points = (100, " points") if best.headline.unit == "%" else (1, "")
    gap = f"difference {scale * low:+.3g} .. {scale * high:+.3g}{points}"
    if low > 0:
        return f"{sentence}; ahead of {next_best} ({gap}).", "good"
    return f"No model is shown to be best. {sentence}; next is {next_best} ({gap}).", "open"


def _against_baseline(best: ModelResult, others: Sequence[ModelResult], sentence: str) -> Verdict:
    if best.headline.note == BASELINE:
        second = others[0]
        certain = second.headline.high is not None and second.headline.high < 50
        start = "No model is preferred over" if certain else "No model is shown to be preferred over"
        return f"{start} {best.name}; next is {second.name}, preferred in {format_value(second.headline)}.", "bad"
    baseline = next(model for model in others if model.headline.note == BASELINE)
    certain = best.headline.low is not None and best.headline.low > 50
    doubt = "" if certain else "; the difference may be luck"
    return f"{sentence} over {baseline.name}{doubt}.", "good" if certain else "open"


def _difference(one: Sequence[ScoredSample], other: Sequence[ScoredSample]) -> Interval:
    """Return the interval of the mean difference of first scores, over the samples of both."""
    others = {scored.sample.id: scored.first for scored in other}
    gaps, clusters = [], []
    for scored in one:
        first, second = scored.first, others.get(scored.sample.id)
        if first is not None and second is not None:
            gaps.append(first - second)
            clusters.append(scored.sample.cluster)
    return mean_interval(gaps, clusters)


def find_flags(folder: ResultsFolder, candidates: Mapping[str, Sequence[str]] | None = None) -> list[Flag]:
    """Return warnings about the prompts, then about each model.

    `candidates` are the members of mixtures that an experiment composed: the manifest does not list them.
    """
    manifest = folder.manifest
    members: dict[str, Sequence[str]] = {**manifest.get("members", {}), **(candidates or {})}
    prompts = [sample.question for sample in folder.samples.values()]
    flags = validity.repeated(prompts)
    judge = [manifest["judge"], *members.get(manifest["judge"], ())] if manifest["judge"] else []
    for model in dict.fromkeys((*manifest["models"], *folder.metrics)):
        scored = [one for one in folder.scored_samples(model) if one.answer.error is None]
        questions, answers = [one.sample.question for one in scored], [one.answer.text for one in scored]
        flags += validity.constant(model, answers) or validity.alike(model, questions, answers)
        flags += validity.refusals(model, answers)
        flags += validity.length(model, answers, [_baseline(folder, one.sample, model) for one in scored])
        flags += validity.self_preference(model, members.get(model, ()), judge)
        flags += validity.unstable(model, _verdicts(scored))
        flags += validity.contaminated(model, prompts, manifest.get("instructions", {}).get(model, ()))
    return flags


def _baseline(folder: ResultsFolder, sample: Sample, model: str) -> str:
    """Return the answer that a model's own is compared with, or ""."""
    if isinstance(sample.reference, Mapping) and isinstance(output := sample.reference.get("output"), str):
        return output
    first = folder.manifest["models"][0]
    headline = next(iter(folder.metrics.get(first, ())), None)
    if model == first or headline is None or headline.note != BASELINE:
        return ""
    answer = folder.answers.get((sample.id, first))
    return answer.text if answer and answer.error is None else ""


def _verdicts(scored: Sequence[ScoredSample]) -> list[tuple[str | None, str | None]]:
    """Return the judge's verdicts on each answer in both orders, as if both were shown in the first one."""
    pairs = [score.detail["verdicts"] for one in scored for score in one.scores if "verdicts" in score.detail]
    return [(first, SWAPPED.get(second)) for first, second in pairs]
