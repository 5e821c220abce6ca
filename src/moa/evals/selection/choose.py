"""A mixture chosen by what was measured: who proposes, who aggregates, and why; and when one model would do as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from ...errors import ConfigError
from .outputs import likeness
from .results import Outcome
from .select import Method, Selection, select

WEAK = 0.15
"""How much less good than the best a proposer may be, from 0 to 1: weaker ones have made answers worse elsewhere."""

ALIKE = 0.8
"""The mean likeness of two models' answers from which on one adds next to nothing to the other."""

ADDS = 0.02
"""What the best of the answers must be worth beyond the best model's, from 0 to 1, to be worth the other calls."""


@dataclass(frozen=True)
class SelectedMixture:
    """The mixture: its proposers and its aggregator, the reasons in plain words, and what speaks against it."""

    selection: Selection
    aggregator: str
    prompts: int
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    def table(self) -> dict[str, Any]:
        """As a mixture of moa.toml."""
        return {"proposers": list(self.selection.members), "aggregator": self.aggregator}


def choose(outcomes: Sequence[Outcome], k: int, method: Method = "both", seed: int = 0) -> SelectedMixture:
    """Choose `k` of the single models as proposers, and an aggregator. Raises `ConfigError` where too little is known.

    Quality is compared on the prompts that every single model has a score for.
    """
    singles = [one for one in outcomes if one.single]
    if len(singles) < 2:
        raise ConfigError("the results hold fewer than two models alone; name them in one moa eval run")
    prompts = sorted(set.intersection(*(set(one.quality) for one in singles)))
    if not prompts:
        raise ConfigError("no prompt has a score of every model; name them all in one moa eval run")
    judged = {one.name: [one.quality[prompt] for prompt in prompts] for one in singles}
    alike = likeness({one.name: {prompt: one.texts[prompt] for prompt in prompts} for one in singles})
    selection = select(judged, alike, k, method, seed)
    quality = {name: fmean(values) for name, values in judged.items()}
    aggregator, why = _aggregator(outcomes, quality)
    reasons = [_proposer(name, quality, alike, selection.members) for name in selection.members]
    return SelectedMixture(
        selection,
        aggregator,
        len(prompts),
        (*reasons, why),
        tuple(_warnings(outcomes, selection, quality, alike)),
    )


def _proposer(
    name: str, quality: Mapping[str, float], alike: Mapping[tuple[str, str], float], members: Sequence[str]
) -> str:
    rank = sorted(quality, key=lambda one: -quality[one]).index(name) + 1
    others = [_likeness(alike, name, other) for other in members if other != name]
    like = f", {fmean(others):.2f} like the others" if others else ""
    return f"{name} proposes: {100 * quality[name]:.1f} % alone, number {rank} of {len(quality)}{like}"


def _likeness(alike: Mapping[tuple[str, str], float], one: str, other: str) -> float:
    return alike.get((one, other), alike.get((other, one), 0.0))


def _aggregator(outcomes: Sequence[Outcome], quality: Mapping[str, float]) -> tuple[str, str]:
    """Who aggregated best among those that were given the same proposers, and why; else who is best alone."""
    groups: dict[tuple[tuple[str, ...], int], list[Outcome]] = {}
    for one in outcomes:
        if one.shape:
            groups.setdefault((one.shape.proposers, one.shape.layers), []).append(one)
    most = max(groups.values(), key=lambda group: len({_of(one) for one in group}), default=[])
    if len({_of(one) for one in most}) < 2:
        best = max(sorted(quality), key=lambda name: quality[name])
        why = "the best alone, which need not aggregate best; moa eval experiment collaborativeness measures that"
        return best, f"{best} aggregates: {why}"
    prompts = sorted(set.intersection(*(set(one.quality) for one in most)))
    if not prompts:
        raise ConfigError("no prompt has a score of every aggregator; name the mixtures in one moa eval run")
    reached = {_of(one): fmean(one.quality[prompt] for prompt in prompts) for one in most}
    ranked = sorted(sorted(reached), key=lambda name: -reached[name])
    told = ", ".join(f"{name} {100 * reached[name]:.1f} %" for name in ranked)
    return ranked[0], f"{ranked[0]} aggregates: of those that were shown the same proposals it did best ({told})"


def _of(one: Outcome) -> str:
    return one.shape.aggregator if one.shape else ""


def _warnings(
    outcomes: Sequence[Outcome],
    selection: Selection,
    quality: Mapping[str, float],
    alike: Mapping[tuple[str, str], float],
) -> list[str]:
    members, told = selection.members, []
    best = max(members, key=lambda name: quality[name])
    for name in members:
        if quality[best] - quality[name] > WEAK:
            gap = f"{100 * quality[name]:.1f} % against {100 * quality[best]:.1f} % of {best}"
            told.append(f"{name} is weak beside the best ({gap}): weak proposals can make the answer worse")
    told += [
        f"{one} and {other} answer alike ({found:.2f}): one of them would do"
        for one, other in combinations(members, 2)
        if (found := _likeness(alike, one, other)) > ALIKE
    ]
    mine, theirs = _self_and_mixed(outcomes)
    if mine and theirs and mine[1] >= theirs[1]:
        told.append(
            f"one model sampled does as well: {mine[0]} has {100 * mine[1]:.1f} %, "
            f"the best mixture of several, {theirs[0]}, {100 * theirs[1]:.1f} %"
        )
    elif not mine and len(members) > 1 and selection.score / 100 - quality[best] < ADDS:
        told.append(
            f"the others add next to nothing to {best}: even who always picked the best answer would gain "
            f"{selection.score - 100 * quality[best]:.1f} points; compare with samples = {len(members)} of it alone"
        )
    return told


def _self_and_mixed(outcomes: Sequence[Outcome]) -> tuple[tuple[str, float] | None, ...]:
    """The best mixture of samples of one model, and the best one of several, on the same prompts."""
    mixtures = [one for one in outcomes if one.shape]
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
