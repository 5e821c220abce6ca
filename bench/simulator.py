"""Simulated models of known skill, so that the true value of a mixture can be computed and compared with estimates.

Each prompt has a random difficulty for all models, each model has random strengths by prompt, and each sample has its
luck. The quality of an answer is the sum of these. An aggregator reaches part of the way from the mean of the proposals
to the best one, or misses and takes any. A judge prefers the better of two answers with a probability that grows with
their distance, and may be biased towards the first one and towards length. Everything is a function of the seed and of
names, so the same question has the same answer in any order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Skill:
    """The skill of a model. Qualities are in standard deviations of the difficulty of prompts.

    `proposing` is the mean quality, `strengths` its deviation between prompts beyond the common difficulty, `luck` that
    between samples of one prompt. `aggregating` is the share of the way from the mean of the proposals to the best one,
    `misses` the probability that it takes any of them instead. `length` is the mean length of answers in characters.
    """

    proposing: float = 0.0
    strengths: float = 0.5
    luck: float = 0.3
    aggregating: float = 0.8
    misses: float = 0.1
    length: float = 1000.0


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """An answer: its quality, and its length in characters."""

    quality: float
    length: float


@dataclass(frozen=True)
class World:
    """Models by their skills, and a judge.

    `sharpness` scales differences in quality to the logit of the judge's preference. `first` and `longer` are its
    biases on that scale, towards the first answer and per 1,000 characters of length. Prompts named `topic/question`
    share difficulty and strengths by topic.
    """

    skills: Mapping[str, Skill]
    seed: int = 0
    sharpness: float = 2.0
    first: float = 0.0
    longer: float = 0.0

    def propose(self, model: str, prompt: str, sample: int = 0) -> SimulatedAnswer:
        """Return the answer of a model alone."""
        skill, topic = self.skills[model], prompt.partition("/")[0]
        strength = skill.strengths * self._chance("strength", model, topic)
        luck = skill.luck * self._chance("luck", model, prompt, sample)
        quality = skill.proposing - self._chance("hard", topic) + strength + luck
        return SimulatedAnswer(quality, self._length(model, prompt, sample))

    def aggregate(
        self, model: str, prompt: str, proposals: Sequence[SimulatedAnswer], sample: int = 0
    ) -> SimulatedAnswer:
        """Return the answer of a model that aggregates proposals."""
        skill = self.skills[model]
        qualities = [proposal.quality for proposal in proposals]
        key = ",".join(f"{quality:.9f}" for quality in qualities)
        if self._share("miss", model, prompt, key, sample) < skill.misses:
            quality = qualities[int(self._share("any", model, prompt, key, sample) * len(qualities))]
        else:
            mean = fmean(qualities)
            quality = mean + skill.aggregating * (max(qualities) - mean)
        return SimulatedAnswer(quality, self._length(model, prompt, f"{key} {sample}"))

    def mixed(self, proposers: Sequence[str], aggregator: str, prompt: str) -> SimulatedAnswer:
        """Return the answer of a mixture of two layers. A repeated proposer gives another sample."""
        samples = [(name, proposers[:index].count(name)) for index, name in enumerate(proposers)]
        return self.aggregate(aggregator, prompt, [self.propose(name, prompt, sample) for name, sample in samples])

    def preference(self, one: SimulatedAnswer, other: SimulatedAnswer) -> float:
        """Return the probability that the judge prefers the first of two answers, shown in this order."""
        logit = self.sharpness * (one.quality - other.quality)
        return _logistic(logit + self.first + self.longer * (one.length - other.length) / 1000)

    def judged(self, prompt: str, one: SimulatedAnswer, other: SimulatedAnswer) -> bool:
        """Return whether the judge, asked once, prefers the first of two answers shown in this order."""
        key = f"{one.quality:.9f},{one.length:.3f},{other.quality:.9f},{other.length:.3f}"
        return self._share("judge", prompt, key) < self.preference(one, other)

    def gain(self, prompt: str, one: SimulatedAnswer, other: SimulatedAnswer) -> float:
        """Return the gain of one answer over another, asked in both orders: -1, 0 or 1."""
        return float(self.judged(prompt, one, other)) - float(self.judged(prompt, other, one))

    def _length(self, model: str, *of: object) -> float:
        return self.skills[model].length * math.exp(0.3 * self._chance("length", model, *of))

    def _chance(self, *of: object) -> float:
        return _NORMAL.inv_cdf(self._share(*of))

    def _share(self, *of: object) -> float:
        """Return a uniform number between 0 and 1 that depends on these values."""
        digest = hashlib.blake2b(repr((self.seed, of)).encode(), digest_size=8).digest()
        return (int.from_bytes(digest) + 0.5) / 2**64


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))
