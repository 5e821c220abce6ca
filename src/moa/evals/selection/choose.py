"""A mixture selected from results: its proposers, its aggregator, the reasons, and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from ...errors import ConfigError
from .outputs import ModelOutputs, output_similarities
from .select import Method, Selection, select

WEAK = 0.15
"""How much worse than the best a proposer may be, from 0 to 1: weaker ones can make answers worse."""

SIMILAR = 0.8
"""The mean similarity of two models' answers from which one adds little to the other."""

ADDS = 0.02
"""How much the best answers must exceed the best model's, from 0 to 1, to be worth the other calls."""


@dataclass(frozen=True)
class SelectedMixture:
    """A mixture: its proposers and its aggregator, with reasons and warnings in words."""

    selection: Selection
    aggregator: str
    prompts: int
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    def table(self) -> dict[str, Any]:
        """Return the mixture as a table of moa.toml."""
        return {"proposers": list(self.selection.members), "aggregator": self.aggregator}


def choose_mixture(models: Sequence[ModelOutputs], k: int, method: Method = "both", seed: int = 0) -> SelectedMixture:
    """Select `k` of the single models as proposers, and an aggregator. Raises `ConfigError` if too little is known.

    Quality is compared on the prompts for which every single model has a score.
    """
    singles = [one for one in models if one.single]
    if len(singles) < 2:
        raise ConfigError(
            f"the results need at least two single models, got {len(singles)}; evaluate them with one moa eval run"
        )
    prompts = sorted(set.intersection(*(set(one.quality) for one in singles)))
    if not prompts:
        raise ConfigError("no prompt has a score of every model; evaluate all models with one moa eval run")
    scores = {one.name: [one.quality[prompt] for prompt in prompts] for one in singles}
    similar = output_similarities({one.name: {prompt: one.texts[prompt] for prompt in prompts} for one in singles})
    selection = select(scores, similar, k, method, seed)
    quality = {name: fmean(values) for name, values in scores.items()}
    aggregator, reason = _aggregator(models, quality)
    reasons = [_proposer(name, quality, similar, selection.members) for name in selection.members]
    return SelectedMixture(
        selection,
        aggregator,
        len(prompts),
        (*reasons, reason),
        tuple(_warnings(models, selection, quality, similar)),
    )


def _proposer(
    name: str, quality: Mapping[str, float], similar: Mapping[tuple[str, str], float], members: Sequence[str]
) -> str:
    rank = sorted(quality, key=lambda one: -quality[one]).index(name) + 1
    others = [_similarity(similar, name, other) for other in members if other != name]
    similarity = f", mean similarity {fmean(others):.2f} to the others" if others else ""
    return f"{name} proposes: {100 * quality[name]:.1f} % alone, rank {rank} of {len(quality)}{similarity}"


def _similarity(similar: Mapping[tuple[str, str], float], one: str, other: str) -> float:
    return similar.get((one, other), similar.get((other, one), 0.0))


def _aggregator(models: Sequence[ModelOutputs], quality: Mapping[str, float]) -> tuple[str, str]:
    """Return the best aggregator of the same proposals, or the best single model, and the reason."""
    groups: dict[tuple[tuple[str, ...], int], list[ModelOutputs]] = {}
    for one in models:
        if one.shape:
            groups.setdefault((one.shape.proposers, one.shape.layers), []).append(one)
    most = max(groups.values(), key=lambda group: len({_aggregator_of(one) for one in group}), default=[])
    if len({_aggregator_of(one) for one in most}) < 2:
        best = max(sorted(quality), key=lambda name: quality[name])
        reason = "the best alone, which may not aggregate best; moa eval experiment collaborativeness measures that"
        return best, f"{best} aggregates: {reason}"
    prompts = sorted(set.intersection(*(set(one.quality) for one in most)))
    if not prompts:
        raise ConfigError("no prompt has a score of every aggregator; evaluate the mixtures with one moa eval run")
    reached = {_aggregator_of(one): fmean(one.quality[prompt] for prompt in prompts) for one in most}
    ranked = sorted(sorted(reached), key=lambda name: -reached[name])
    scores = ", ".join(f"{name} {100 * reached[name]:.1f} %" for name in ranked)
    return ranked[0], f"{ranked[0]} aggregates: the best of those with the same proposals ({scores})"


def _aggregator_of(one: ModelOutputs) -> str:
    return one.shape.aggregator if one.shape else ""


def _warnings(
    models: Sequence[ModelOutputs],
    selection: Selection,
    quality: Mapping[str, float],
    similar: Mapping[tuple[str, str], float],
) -> list[str]:
    members, warnings = selection.members, list[str]()
    best = max(members, key=lambda name: quality[name])
    for name in members:
        if quality[best] - quality[name] > WEAK:
            gap = f"{100 * quality[name]:.1f} % against {100 * quality[best]:.1f} % of {best}"
            warnings.append(f"{name} is much weaker than the best ({gap}): weak proposals can make answers worse")
    warnings += [
        f"{one} and {other} have similar answers ({value:.2f}): one of them may be enough"
        for one, other in combinations(members, 2)
        if (value := _similarity(similar, one, other)) > SIMILAR
    ]
    sampled, mixed = _best_mixtures(models)
    if sampled and mixed and sampled[1] >= mixed[1]:
        warnings.append(
            f"samples of one model do as well: {sampled[0]} has {100 * sampled[1]:.1f} %, "
            f"the best mixture of several, {mixed[0]}, {100 * mixed[1]:.1f} %"
        )
    elif not sampled and len(members) > 1 and selection.score / 100 - quality[best] < ADDS:
        warnings.append(
            f"the others add little to {best}: always picking the best answer would gain "
            f"{selection.score - 100 * quality[best]:.1f} points; compare with samples = {len(members)} of it alone"
        )
    return warnings


def _best_mixtures(models: Sequence[ModelOutputs]) -> tuple[tuple[str, float] | None, ...]:
    """Return the best mixture of samples of one model, and the best one of several models, on the same prompts."""
    mixtures = [one for one in models if one.shape]
    own = [one for one in mixtures if one.shape and len(set(one.shape.proposers)) == 1]
    several = [one for one in mixtures if one not in own]
    if not own or not several:
        return None, None
    prompts = set.intersection(*(set(one.quality) for one in mixtures))
    if not prompts:
        return None, None
    means = {one.name: fmean(one.quality[prompt] for prompt in prompts) for one in mixtures}
    return tuple(
        max(((one.name, means[one.name]) for one in group), key=lambda pair: pair[1]) for group in (own, several)
    )
