"""Candidates: mixtures, or single models, that an experiment composes, and their evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from ...api import get_builder
from ...config.build import Builder
from ...config.schema import MixtureTable
from ...errors import ConfigError
from ...model import Model
from ..manifest import single_models
from ..runner import Progress
from ..session import Session
from ..stats.bootstrap import Estimate
from ..task import Metric, ScoredSample
from ..tasks.registry import TaskSubset


@dataclass(frozen=True, slots=True)
class Candidate:
    """Proposers, each with its number of samples, and an aggregator; without an aggregator, a single model.

    `layers` includes the aggregator. An aggregator of the kind "pick" returns one of the proposals.
    """

    proposers: tuple[tuple[str, int], ...]
    aggregator: str | None = None
    layers: int = 2
    kind: Literal["synthesize", "pick"] = "synthesize"

    @property
    def name(self) -> str:
        """A name such as `a x3 + b -> c`, which mentions a third layer and an aggregator that picks."""
        proposers = " + ".join(f"{model} x{samples}" if samples > 1 else model for model, samples in self.proposers)
        layers = f", {self.layers} layers" if self.aggregator and self.layers > 2 else ""
        picks = " picks" if self.kind == "pick" else ""
        return f"{proposers} -> {self.aggregator}{picks}{layers}" if self.aggregator else proposers

    def table(self) -> dict[str, Any]:
        """Return the mixture as a table of moa.toml."""
        members = [model if samples == 1 else {"model": model, "samples": samples} for model, samples in self.proposers]
        aggregator = self.aggregator if self.kind == "synthesize" else {"kind": self.kind, "model": self.aggregator}
        layers = {"layers": self.layers} if self.layers > 2 else {}
        return {"proposers": members, "aggregator": aggregator, **layers}

    def model(self, builder: Builder) -> Model:
        """Build the mixture or model. Raises `ConfigError` for an unknown name."""
        if self.aggregator is None:
            return builder.model(self.proposers[0][0])
        return builder.mixture(self.name, MixtureTable.model_validate(self.table()))


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """The result of a candidate on `prompts` prompts.

    The `score` is on the task's scale, where more is better. `cost` (US dollars, `None` if unknown) and `seconds`, from
    a question to the end of its answer, are means.
    """

    prompts: int
    score: Estimate
    cost: float | None
    seconds: float


def resolve_members(config: Path | None, names: Sequence[str]) -> list[str]:
    """Return the single models that these names consist of; those of the default model if there are no names."""
    builder = get_builder(config)
    given = names or [builder.config.default]
    return list(dict.fromkeys(member for name in given for member in single_models(builder.config, name)))


async def evaluate_candidates(
    session: Session,
    on_progress: Callable[[Progress], None],
    candidates: Sequence[Candidate],
    prompts: int | None = None,
) -> dict[Candidate, CandidateResult]:
    """Evaluate candidates on all prompts, or on as many as given, drawn by the seed of the session.

    The first model of the session is asked too, as the baseline of a judge that compares. Raises `ConfigError` if the
    limit on the cost is reached, or if a candidate has no score.
    """
    spec = session.spec
    task = spec.task if prompts is None else TaskSubset(spec.task, prompts, spec.seed)
    baseline = Candidate(((spec.models[0].name, 1),))
    models = {one.name: one.model(session.builder) for one in dict.fromkeys((baseline, *candidates))}
    results = await session.run(models, on_progress, task)
    if not results.complete:
        raise ConfigError(
            f"--max-cost: stopped before exceeding {spec.max_cost} US dollars; to continue, repeat the command with a "
            "higher limit"
        )
    return {one: _result(one, results.metrics[one.name][0], results.scored[one.name]) for one in candidates}


def _result(candidate: Candidate, metric: Metric, scored: Sequence[ScoredSample]) -> CandidateResult:
    answered = [one.answer for one in scored if one.answer.error is None]
    if metric.value is None or not answered:
        failure = next((one.failure for one in scored if one.failure), "has no score")
        raise ConfigError(f"{candidate.name}: {failure}")
    low, high = (metric.value if end is None else end for end in (metric.low, metric.high))
    costs = [answer.cost.usage.cost for answer in answered]
    known = [cost for cost in costs if cost is not None]
    return CandidateResult(
        len(scored),
        Estimate(metric.value, low, high),
        fmean(known) if len(known) == len(costs) else None,
        fmean(answer.cost.seconds for answer in answered),
    )
