"""Models of known skill: a world in which the truth about a mixture can be computed, to test what is said about it.

Every prompt is as hard for all models as chance has it, each model has its own strengths among the prompts, and each
sample its own luck; the sum of these is the answer's quality, a number. An aggregator closes part of the way from the
mean of the proposals to the best of them, or misses and takes any one. A judge prefers the better of two answers the
more surely the further they are apart, and has a liking for the first place and for length, if told so. Everything is a
function of the world's seed and of names, so the same question has the same answer in any order.
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
    """What a model can do. Qualities are in standard deviations of the difficulty of prompts.

    `proposing` is its mean quality, `strengths` how much that differs between prompts beyond what all models share,
    `luck` how much between samples of one prompt. `aggregating` is the share of the way from the mean of the proposals
    to the best that it closes, `misses` how often it takes any one of them instead. `length` is how long it writes, in
    characters.
    """

    proposing: float = 0.0
    strengths: float = 0.5
    luck: float = 0.3
    aggregating: float = 0.8
    misses: float = 0.1
    length: float = 1000.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: how good it is, and how long, in characters."""

    quality: float
    length: float


@dataclass(frozen=True)
class World:
    """Models by their skills. `sharpness` is how sure the judge is for each unit of quality, `first` and `longer` how
    much it likes what stands first, and what is longer by 1,000 characters, in the same units as sharpness times
    quality. Prompts named `topic/question` share their difficulty and what models make of them by topic."""

    skills: Mapping[str, Skill]
    seed: int = 0
    sharpness: float = 2.0
    first: float = 0.0
    longer: float = 0.0

    def propose(self, model: str, prompt: str, sample: int = 0) -> Answer:
        """What a model answers to a prompt by itself."""
        skill, topic = self.skills[model], prompt.partition("/")[0]
        strength = skill.strengths * self._chance("strength", model, topic)
        luck = skill.luck * self._chance("luck", model, prompt, sample)
        quality = skill.proposing - self._chance("hard", topic) + strength + luck
        return Answer(quality, self._length(model, prompt, sample))

    def aggregate(self, model: str, prompt: str, proposals: Sequence[Answer], sample: int = 0) -> Answer:
        """What a model makes of proposals."""
        skill = self.skills[model]
        qualities = [proposal.quality for proposal in proposals]
        told = ",".join(f"{quality:.9f}" for quality in qualities)
        if self._share("miss", model, prompt, told, sample) < skill.misses:
            quality = qualities[int(self._share("any", model, prompt, told, sample) * len(qualities))]
        else:
            mean = fmean(qualities)
            quality = mean + skill.aggregating * (max(qualities) - mean)
        return Answer(quality, self._length(model, prompt, f"{told} {sample}"))

    def mixed(self, proposers: Sequence[str], aggregator: str, prompt: str) -> Answer:
        """The answer of a mixture of two layers; a proposer named twice is asked for another sample."""
        places = [(name, proposers[:place].count(name)) for place, name in enumerate(proposers)]
        return self.aggregate(aggregator, prompt, [self.propose(name, prompt, sample) for name, sample in places])

    def preference(self, one: Answer, other: Answer) -> float:
        """How likely the judge prefers the first of two answers, shown in this order."""
        liking = self.sharpness * (one.quality - other.quality)
        return _logistic(liking + self.first + self.longer * (one.length - other.length) / 1000)

    def judged(self, prompt: str, one: Answer, other: Answer) -> bool:
        """Whether the judge, asked once, prefers the first of two answers shown in this order."""
        told = f"{one.quality:.9f},{one.length:.3f},{other.quality:.9f},{other.length:.3f}"
        return self._share("judge", prompt, told) < self.preference(one, other)

    def gain(self, prompt: str, one: Answer, other: Answer) -> float:
        """What one answer wins over another, asked in both orders: -1, 0 or 1."""
        return float(self.judged(prompt, one, other)) - float(self.judged(prompt, other, one))

    def _length(self, model: str, *of: object) -> float:
        return self.skills[model].length * math.exp(0.3 * self._chance("length", model, *of))

    def _chance(self, *of: object) -> float:
        return _NORMAL.inv_cdf(self._share(*of))

    def _share(self, *of: object) -> float:
        """A number between 0 and 1, evenly spread, that these words decide."""
        told = hashlib.blake2b(repr((self.seed, of)).encode(), digest_size=8).digest()
        return (int.from_bytes(told) + 0.5) / 2**64


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))
