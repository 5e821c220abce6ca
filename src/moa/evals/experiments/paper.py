"""The experiments of the Mixture-of-Agents paper (Wang et al. 2024, arXiv 2406.04692): what each one compares.

An experiment is a list of arms. Calls that arms share, such as the proposals of the same models, are made once if
there is a call cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...config.messages import did_you_mean
from ...errors import ConfigError
from .candidate import Candidate

COUNTS = (1, 2, 3, 6)
"""The numbers of proposers in Table 3."""

DEPTHS = (1, 2, 3)
"""The numbers of layers in Table 8, the aggregator included."""

KINDS: tuple[tuple[str, Literal["synthesize", "pick"]], ...] = (("synthesizes", "synthesize"), ("picks", "pick"))

Shape = Literal["bars", "lines"]


@dataclass(frozen=True, slots=True)
class Arm:
    """A candidate, with its series and its category (a model's name or a number) in the plot."""

    series: str
    category: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Experiment:
    """The arms to compare, and their plot. `axis` is the title of the categories."""

    name: str
    title: str
    source: str
    axis: str
    shape: Shape
    arms: tuple[Arm, ...]


def plan_experiment(name: str, models: Sequence[str], aggregator: str | None = None, samples: int = 6) -> Experiment:
    """Return the experiment of this name with these models. Raises `ConfigError`.

    `aggregator` is that of arms that share one, by default the first model. `samples` is the number of proposals of a
    model that proposes alone.
    """
    if name not in EXPERIMENTS:
        raise ConfigError(f"no experiment {name!r}{did_you_mean(name, EXPERIMENTS)}; known: {', '.join(EXPERIMENTS)}")
    if len(models) < 2:
        raise ConfigError(f"{name}: compares at least two models, got {len(models)}; add -m MODEL")
    return EXPERIMENTS[name](models, aggregator or models[0], samples)


def collaborativeness(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """Compare each model alone, and with the answers of all of them as references (Figure 1)."""
    all_models = _once(models)
    arms = [
        arm
        for model in models
        for arm in (Arm("alone", model, _alone(model)), Arm("with answers", model, Candidate(all_models, model)))
    ]
    title = "Does a model answer better when it is shown the others' answers?"
    return Experiment("collaborativeness", title, "Figure 1", "model", "bars", tuple(arms))


def roles(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """Compare models as the aggregator of all, and as the only proposer (Table 4)."""
    all_models = _once(models)
    arms = [
        arm
        for model in models
        for arm in (
            Arm("as aggregator", model, Candidate(all_models, model)),
            Arm("as proposer", model, Candidate(((model, samples),), aggregator)),
        )
    ]
    return Experiment("roles", "Who aggregates well, who proposes well?", "Table 4", "model", "bars", tuple(arms))


def proposers(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """Compare numbers of proposers: different models, and samples of the aggregator (Table 3)."""
    counts = [count for count in COUNTS if count <= max(len(models), samples)]
    arms = [Arm("one model sampled", str(count), Candidate(((aggregator, count),), aggregator)) for count in counts]
    arms += [
        Arm("different models", str(count), Candidate(_once(models[:count]), aggregator))
        for count in counts
        if count <= len(models)
    ]
    title = "How many proposers, and different ones or samples of one?"
    return Experiment("proposers", title, "Table 3", "proposers", "lines", tuple(arms))


def layers(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """Compare each model after no, one and two layers of proposers (Table 8)."""
    arms = [
        Arm(model, str(depth), Candidate(_once(models), model, depth) if depth > 1 else _alone(model))
        for model in models
        for depth in DEPTHS
    ]
    title = "How many layers, the aggregator included?"
    return Experiment("layers", title, "Table 8", "layers", "lines", tuple(arms))


def ranker(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """Compare an aggregator that writes an answer with one that picks the best proposal (Figure 4a)."""
    counts = [count for count in COUNTS if 1 < count <= len(models)]
    arms = [
        Arm(series, str(count), Candidate(_once(models[:count]), aggregator, kind=kind))
        for series, kind in KINDS
        for count in counts
    ]
    title = "Does the aggregator do more than pick the best proposal?"
    return Experiment("ranker", title, "Figure 4a", "proposers", "lines", tuple(arms))


EXPERIMENTS: Mapping[str, Callable[[Sequence[str], str, int], Experiment]] = {
    plan.__name__: plan for plan in (collaborativeness, roles, proposers, layers, ranker)
}


def _alone(model: str) -> Candidate:
    return Candidate(((model, 1),))


def _once(models: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple((model, 1) for model in models)
