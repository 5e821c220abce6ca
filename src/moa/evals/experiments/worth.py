"""Is a mixture worth it for these prompts?

It is compared with each of its members alone, and with the best member sampled several times: once at equal cost, once
in equal time.
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
from ..report.summary import ModelResult
from ..runner import Progress, Results
from ..scorers.pairwise import PREFERENCE
from ..session import Session
from ..stats.comparison import WORTHWHILE, Rival, Worth, worth
from ..task import ScoredSample
from .candidate import Candidate

MAX_SAMPLES = 32
"""The most samples of one model."""

VARIED = 0.7
"""The temperature of samples if the mixture's is 0, at which all samples would be equal."""


def mixture_and_members(mixture: str, config: Path | None = None) -> list[str]:
    """Return the full names of a mixture and its proposers, for a session. Raises `ConfigError` for a single model."""
    known = get_builder(config).config
    provider, name = known.resolve(mixture)
    if provider != "moa":
        raise ConfigError(f"-m {mixture}: is a single model, not a mixture; mixtures: {', '.join(known.mixtures)}")
    return [f"moa:{name}", *_members(known, name)]


def _members(config: Config, name: str) -> list[str]:
    layers = config.mixtures[name].proposer_layers
    return list(dict.fromkeys(":".join(config.resolve(member.model)) for layer in layers for member in layer))


@dataclass(frozen=True, slots=True)
class SampledRival:
    """The best member sampled, with what equals the mixture then: "cost", "time", or "cost and time"."""

    candidate: Candidate
    equal: str


@dataclass(frozen=True)
class WorthExperiment:
    """The two steps of the comparison: the best member is known only when all have answered.

    The models of the session are the mixture and its members. It is not worth it if it certainly gains less than
    `worthwhile` points.
    """

    session: Session
    confidence: float = 0.95
    worthwhile: float = WORTHWHILE

    @property
    def mixture(self) -> str:
        """The full name of the mixture."""
        return self.session.spec.models[0].name

    @property
    def members(self) -> list[str]:
        """The full names of its proposers."""
        return [model.name for model in self.session.spec.models[1:]]

    async def evaluate_members(self, on_progress: Callable[[Progress], None]) -> Results:
        """Evaluate the mixture and its members."""
        return await self.session.run(self.session.models, on_progress)

    async def evaluate_rivals(self, results: Results, on_progress: Callable[[Progress], None]) -> Worth:
        """Evaluate the best member sampled, and decide."""
        rivals = self.rivals(results)
        built = {rival.candidate.name: self._build(rival.candidate) for rival in rivals}
        results = await self.session.run({**self.session.models, **built}, on_progress)
        if not results.complete:
            raise ConfigError(
                f"--max-cost: {self.session.spec.folder.path} is incomplete; to continue, repeat the command with a "
                "higher limit"
            )
        return self._worth(results, rivals)

    def rivals(self, results: Results) -> list[SampledRival]:
        """Return the best member with as many samples as cost the same, and as many as the widest layer has."""
        layers = self._table.proposer_layers
        best = min(self.members, key=lambda name: sum(gains(results.scored[self.mixture], results.scored[name])))
        width = max(sum(member.samples for member in layer) for layer in layers)
        rivals = [SampledRival(Candidate(((best, max(width, 2)),), best, len(layers) + 1), "time")]
        if affordable := self._affordable(results, best):
            at_cost = Candidate(((best, affordable),), best)
            if at_cost == rivals[0].candidate:
                rivals = [SampledRival(at_cost, "cost and time")]
            else:
                rivals = [SampledRival(at_cost, "cost"), *rivals]
        proposers = tuple((member.model, member.samples) for member in layers[0])
        own = Candidate(proposers, self._table.aggregator.model, len(layers) + 1)
        return [rival for rival in rivals if rival.candidate != own]  # the mixture itself

    def _affordable(self, results: Results, best: str) -> int | None:
        """Return how many samples, with their aggregation, cost no more than the mixture: in dollars, or in tokens if
        costs are zero or unknown."""
        mixture, alone = (ModelResult(name, (), results.scored[name]) for name in (self.mixture, best))
        limit, sample, price = mixture.mean("cost"), alone.mean("cost"), self.session.spec.model(best).price
        if limit and sample and price:
            per_token = price["input"] / 1e6
        else:
            limit, sample, per_token = mixture.tokens, alone.tokens, 1.0
        aggregation, reference = sample + INSTRUCTION * per_token, (alone.mean("output_tokens") or 0.0) * per_token
        counts = (n for n in range(2, MAX_SAMPLES + 1) if n * (sample + reference) + aggregation <= limit)
        return max(counts, default=None)

    def _worth(self, results: Results, rivals: Sequence[SampledRival]) -> Worth:
        own = results.scored[self.mixture]
        by_judge = "baseline" in self.session.spec.task.scorer.needs
        mixture = ModelResult(self.mixture, (), own)

        def rival(name: str, title: str) -> Rival:
            scored = results.scored[name]
            result = ModelResult(name, (), scored)
            longer = [len(one.answer.text) - len(other.answer.text) for one, other in zip(own, scored, strict=True)]
            cost, seconds = result.mean("cost"), result.mean("seconds")
            return Rival(title, gains(own, scored), cost, seconds, longer if by_judge else ())

        return worth(
            [rival(name, name) for name in self.members],
            [rival(one.candidate.name, f"{one.candidate.name} (equal {one.equal})") for one in rivals],
            cost=mixture.mean("cost"),
            seconds=mixture.mean("seconds"),
            clusters=[one.sample.cluster for one in own],
            confidence=self.confidence,
            worthwhile=self.worthwhile,
            seed=self.session.spec.seed,
        )

    @property
    def _table(self) -> MixtureTable:
        return self.session.builder.config.mixtures[self.mixture.removeprefix("moa:")]

    def _build(self, candidate: Candidate) -> Model:
        """Build the candidate with the mixture's sampling options."""
        options = self._table.model_dump(include=set(Sampling.model_fields), exclude_unset=True)
        table = candidate.table()
        if options.get("temperature") == 0:
            table["proposers"] = [{**member, "temperature": VARIED} for member in table["proposers"]]
        return self.session.builder.mixture(candidate.name, MixtureTable.model_validate({**options, **table}))


def gains(mixture: Sequence[ScoredSample], other: Sequence[ScoredSample]) -> list[float]:
    """Return the gain of the mixture over another on each prompt, from -1 to 1.

    A model without an answer has lost. A prompt that the judge leaves open is a tie.
    """
    return [_gain(one, their) for one, their in zip(mixture, other, strict=True)]


def _gain(own: ScoredSample, other: ScoredSample) -> float:
    failed = [scored.answer.error is not None for scored in (own, other)]
    if any(failed):
        return float(failed[1]) - float(failed[0])
    if other.scores and other.scores[0].name == PREFERENCE:
        return 0.0 if other.first is None else 1 - 2 * other.first
    if own.error or other.error:
        return 0.0
    return (own.first or 0.0) - (other.first or 0.0)
