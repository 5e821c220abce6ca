"""Is a mixture worth it for these prompts? It is compared with each of its members alone, and with the best of them
sampled several times, once for what the mixture costs and once in the time it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...api import get_builder
from ...config.load import Config
from ...config.schema import MixtureTable, Sampling
from ...costs.forecast import INSTRUCTION
from ...errors import ConfigError
from ...model import Model
from ..manifest import price
from ..report.measured import Measured
from ..runner import Progress, Results
from ..sample import Scored
from ..scorers.pairwise import PREFERENCE
from ..session import EvalSpec, Session
from ..stats.bootstrap import WORTHWHILE, Rival, Worth, worth
from ..task import Task
from .candidate import Candidate

MOST = 32
"""Samples of one model at most."""

VARIED = 0.7
"""The temperature at which a model is sampled whose mixture asks at 0, where all samples would be the same."""


def asked(benchmark: Task, mixture: str, judge: str | None, config: Path | None = None) -> EvalSpec:
    """What is to be evaluated for it. Raises `ConfigError` where that is no mixture."""
    known = get_builder(config).config
    provider, name = known.resolve(mixture)
    if provider != "moa":
        raise ConfigError(f"{mixture} is one model, not a mixture; mixtures are: {', '.join(known.mixtures)}")
    full = f"moa:{name}"
    return EvalSpec(benchmark, [full, *members(known, full)], judge, config=config)


def members(config: Config, mixture: str) -> list[str]:
    """The models that propose in a mixture, each once."""
    layers = config.mixtures[mixture.removeprefix("moa:")].proposer_layers
    return list(dict.fromkeys(":".join(config.resolve(member.model)) for layer in layers for member in layer))


@dataclass(frozen=True, slots=True)
class Arm:
    """The best member sampled, and what is `equal` to the mixture then: "cost", "time", or "cost and time"."""

    candidate: Candidate
    equal: str


@dataclass(frozen=True)
class Question:
    """Whether a mixture is worth it, in two steps: who the best member is shows only when all have answered.

    It is not worth it where it surely gains less than `worthwhile` points.
    """

    session: Session
    mixture: str
    confidence: float = 0.95
    worthwhile: float = WORTHWHILE

    @property
    def members(self) -> list[str]:
        """The models that propose in it."""
        return members(self.session.builder.config, self.mixture)

    async def first(self, tell: Callable[[Progress], None]) -> Results:
        """Ask the mixture and its members."""
        return await self.session.run(self._alone(), tell)

    async def second(self, results: Results, tell: Callable[[Progress], None]) -> Worth:
        """Ask the best member sampled, and judge."""
        arms = self.arms(results)
        built = {arm.candidate.name: self._sampled(arm.candidate) for arm in arms}
        results = await self.session.run({**self._alone(), **built}, tell)
        if not results.complete:
            raise ConfigError(f"{self.session.folder.path}: not everything is answered; a higher --max-cost goes on")
        return self._judged(results, arms)

    def arms(self, results: Results) -> list[Arm]:
        """The best member sampled as often as the mixture's cost allows, and as often as it asks side by side."""
        layers = self._table.proposer_layers
        best = min(self.members, key=lambda name: sum(gains(results.scored[self.mixture], results.scored[name])))
        width = max(sum(member.samples for member in layer) for layer in layers)
        arms = [Arm(Candidate(((best, max(width, 2)),), best, len(layers) + 1), "time")]
        if affordable := self._affordable(results, best):
            cheap = Candidate(((best, affordable),), best)
            both = cheap == arms[0].candidate
            arms = [Arm(cheap, "cost and time")] if both else [Arm(cheap, "cost"), *arms]
        proposers = tuple((member.model, member.samples) for member in layers[0])
        own = Candidate(proposers, self._table.aggregator.model, len(layers) + 1)
        return [arm for arm in arms if arm.candidate != own]  # which would compare the mixture with itself

    def _affordable(self, results: Results, best: str) -> int | None:
        """How many samples, with the call that reads them, cost no more than the mixture: in dollars where they tell
        something, else in tokens."""
        mixture, alone = (Measured(name, (), results.scored[name]) for name in (self.mixture, best))
        limit, once, known = mixture.mean("cost"), alone.mean("cost"), price(self.session.builder.config, best)
        if limit and once and known:
            a_token = known["input"] / 1e6
        else:
            limit, once, a_token = mixture.tokens, alone.tokens, 1.0
        reading, read = once + INSTRUCTION * a_token, (alone.mean("output_tokens") or 0.0) * a_token
        return max((n for n in range(2, MOST + 1) if n * (once + read) + reading <= limit), default=None)

    def _judged(self, results: Results, arms: Sequence[Arm]) -> Worth:
        own = results.scored[self.mixture]
        by_judge = "baseline" in self.session.benchmark.scorer.needs
        mixture = Measured(self.mixture, (), own)

        def rival(name: str, shown: str) -> Rival:
            theirs = results.scored[name]
            told = Measured(name, (), theirs)
            longer = [len(one.answer.text) - len(other.answer.text) for one, other in zip(own, theirs, strict=True)]
            cost, seconds = told.mean("cost"), told.mean("seconds")
            return Rival(shown, gains(own, theirs), cost, seconds, longer if by_judge else ())

        return worth(
            [rival(name, name) for name in self.members],
            [rival(arm.candidate.name, f"{arm.candidate.name} (equal {arm.equal})") for arm in arms],
            cost=mixture.mean("cost"),
            seconds=mixture.mean("seconds"),
            clusters=[one.sample.cluster for one in own],
            confidence=self.confidence,
            worthwhile=self.worthwhile,
            seed=self.session.asked.seed,
        )

    @property
    def _table(self) -> MixtureTable:
        return self.session.builder.config.mixtures[self.mixture.removeprefix("moa:")]

    def _alone(self) -> dict[str, Model]:
        return {name: self.session.builder.model(name) for name in (self.mixture, *self.members)}

    def _sampled(self, candidate: Candidate) -> Model:
        """The candidate, asked with the mixture's own sampling options."""
        options = self._table.model_dump(include=set(Sampling.model_fields), exclude_unset=True)
        told = candidate.table()
        if options.get("temperature") == 0:
            told["proposers"] = [{**member, "temperature": VARIED} for member in told["proposers"]]
        table = MixtureTable.model_validate({**options, **told})
        return self.session.builder.mixture(candidate.name, table)


def gains(mixture: Sequence[Scored], other: Sequence[Scored]) -> list[float]:
    """What the mixture gains over another on each prompt, from -1 to 1. Who does not answer has lost; what the judge
    leaves open is a tie."""
    return [_gain(one, their) for one, their in zip(mixture, other, strict=True)]


def _gain(one: Scored, their: Scored) -> float:
    failed = [scored.answer.error is not None for scored in (one, their)]
    if any(failed):
        return float(failed[1]) - float(failed[0])
    if their.scores and their.scores[0].name == PREFERENCE:
        return 0.0 if their.first is None else 1 - 2 * their.first
    if one.error or their.error:
        return 0.0
    return (one.first or 0.0) - (their.first or 0.0)
