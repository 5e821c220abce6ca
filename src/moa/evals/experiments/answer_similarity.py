"""Is a mixture's answer more like the better of its proposals? (Wang et al. 2024, Figures 4b and 6)

A mixture is looked at where each of its proposers was asked alone too: those answers are its proposals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..results_folder import Folder
from ..sample import Scored
from .candidate import Candidate
from .paper import Experiment
from .texts import MEASURES, Correlation, Likeness, likenesses, within_samples


@dataclass(frozen=True, slots=True)
class Alike:
    """How alike the answers of a mixture are to the proposals of each of its proposers, on the average (`likeness`),
    and how that goes with their scores within each sample (`correlation`, by measure)."""

    mixture: str
    likeness: dict[str, Likeness]
    correlation: dict[str, Correlation]


def alike(experiment: Experiment, folder: Folder) -> list[Alike]:
    """What can be said of each mixture of an experiment that has answered and was scored."""
    alone = {arm.candidate.name for arm in experiment.arms if arm.candidate.aggregator is None}
    candidates = dict.fromkeys(arm.candidate for arm in experiment.arms)
    looked_at = [one for one in candidates if one.aggregator and {name for name, _ in one.proposers} <= alone]
    return [_alike(one, folder) for one in looked_at if one.kind == "synthesize"]


def _alike(mixture: Candidate, folder: Folder) -> Alike:
    names = [name for name, _ in mixture.proposers]
    found = list(_samples(mixture, names, folder))
    measured = [likenesses(answer, [proposal.answer.text for proposal in proposals]) for answer, proposals in found]

    def pairs(measure: str) -> Iterator[list[tuple[float, float]]]:
        for (_, proposals), likes in zip(found, measured, strict=True):
            yield [(getattr(like, measure), _score(one)) for like, one in zip(likes, proposals, strict=True)]

    means = {
        name: Likeness(*(fmean(getattr(likes[place], measure) for likes in measured) for measure in MEASURES))
        for place, name in enumerate(names)
        if measured
    }
    return Alike(mixture.name, means, {measure: within_samples(pairs(measure)) for measure in MEASURES})


def _samples(mixture: Candidate, names: Sequence[str], folder: Folder) -> Iterator[tuple[str, list[Scored]]]:
    """For each sample that all have answered: the mixture's answer, and what each proposer said, scored."""
    answered = {name: {one.sample.id: one for one in folder.of(name)} for name in (mixture.name, *names)}
    for sample in folder.samples:
        known = [answered[name].get(sample) for name in (mixture.name, *names)]
        there = [one for one in known if one and one.answer.error is None and one.answer.texts]
        if len(there) == len(known) and not any(one.error or (one.scores and one.first is None) for one in there[1:]):
            yield there[0].answer.text, there[1:]


def _score(proposal: Scored) -> float:
    """Its score; the answer that others are compared with is as good as itself."""
    return 0.5 if proposal.first is None else proposal.first
