"""The paper's experiments: which mixtures each one compares. Tables and figures of Wang et al. 2024, arXiv 2406.04692.

An experiment is a list of arms; an arm is something to evaluate, with the place it has in the table and in the plot.
What arms share, such as the proposals of the same models, is asked once where calls are remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...config.messages import did_you_mean
from ...errors import ConfigError
from .candidate import Candidate

COUNTS = (1, 2, 3, 6)
"""How many proposers Table 3 compares."""

DEPTHS = (1, 2, 3)
"""How many layers Table 8 compares, the aggregator counted."""

KINDS: tuple[tuple[str, Literal["synthesize", "pick"]], ...] = (("synthesizes", "synthesize"), ("picks", "pick"))

Shape = Literal["bars", "lines"]


@dataclass(frozen=True, slots=True)
class Arm:
    """A candidate, the `series` it is a point of, and what stands at its place: a model's name or a number."""

    series: str
    at: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is compared, and how it is drawn. `axis` says what the places of the arms are."""

    name: str
    title: str
    source: str
    axis: str
    shape: Shape
    arms: tuple[Arm, ...]


def experiment(name: str, models: Sequence[str], aggregator: str | None = None, samples: int = 6) -> Experiment:
    """The experiment of that name with these models. `aggregator` is the one of arms that share one: the first model
    where it is not said. `samples` is how often a model is asked that proposes alone. Raises `ConfigError`."""
    if name not in EXPERIMENTS:
        raise ConfigError(f"no experiment {name!r}{did_you_mean(name, EXPERIMENTS)}; known: {', '.join(EXPERIMENTS)}")
    if len(models) < 2:
        raise ConfigError(f"{name} compares models with each other; name at least two with -m")
    return EXPERIMENTS[name](models, aggregator or models[0], samples)


def collaborativeness(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """Each model alone, and with the answers of all of them before it (Figure 1)."""
    everybody = _once(models)
    arms = [
        arm
        for model in models
        for arm in (Arm("alone", model, _alone(model)), Arm("with answers", model, Candidate(everybody, model)))
    ]
    title = "Does a model answer better when it is shown the others' answers?"
    return Experiment("collaborativeness", title, "Figure 1", "model", "bars", tuple(arms))


def roles(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """Each model as the aggregator of all, and as the only proposer (Table 4)."""
    everybody = _once(models)
    arms = [
        arm
        for model in models
        for arm in (
            Arm("as aggregator", model, Candidate(everybody, model)),
            Arm("as proposer", model, Candidate(((model, samples),), aggregator)),
        )
    ]
    return Experiment("roles", "Who aggregates well, who proposes well?", "Table 4", "model", "bars", tuple(arms))


def proposers(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """More and more proposers: different models, and samples of the aggregator's own (Table 3)."""
    counts = [count for count in COUNTS if count <= max(len(models), samples)]
    arms = [Arm("one model sampled", str(count), Candidate(((aggregator, count),), aggregator)) for count in counts]
    arms += [
        Arm("different models", str(count), Candidate(_once(models[:count]), aggregator))
        for count in counts
        if count <= len(models)
    ]
    title = "How many proposers, and different ones or one sampled?"
    return Experiment("proposers", title, "Table 3", "proposers", "lines", tuple(arms))


def layers(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """Each model after no, one and two layers of proposers (Table 8)."""
    arms = [
        Arm(model, str(depth), Candidate(_once(models), model, depth) if depth > 1 else _alone(model))
        for model in models
        for depth in DEPTHS
    ]
    title = "How many layers, the aggregator counted?"
    return Experiment("layers", title, "Table 8", "layers", "lines", tuple(arms))


def ranker(models: Sequence[str], aggregator: str, samples: int) -> Experiment:
    """The aggregator writes an answer, or only picks the best proposal (Figure 4a)."""
    counts = [count for count in COUNTS if 1 < count <= len(models)]
    arms = [
        Arm(series, str(count), Candidate(_once(models[:count]), aggregator, kind=kind))
        for series, kind in KINDS
        for count in counts
    ]
    title = "Does the aggregator do more than pick the best proposal?"
    return Experiment("ranker", title, "Figure 4a", "proposers", "lines", tuple(arms))


EXPERIMENTS: Mapping[str, Callable[[Sequence[str], str, int], Experiment]] = {
    made.__name__: made for made in (collaborativeness, roles, proposers, layers, ranker)
}


def _alone(model: str) -> Candidate:
    return Candidate(((model, 1),))


def _once(models: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple((model, 1) for model in models)
