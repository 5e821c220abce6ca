"""Is a mixture worth it? Differences between systems that answered the same prompts, with intervals, in plain words.

A gain is what a mixture wins over a rival on one prompt, from -1 to 1: the difference of two scores from 0 to 1, or
2p - 1 where p is the share of a pairwise judge's preference that the mixture got, both orders averaged. Gains are told
in points: so many more prompts won, net, of a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ...errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

RESAMPLES = 4000
ROOM = 40_000_000
"""How many numbers may be kept for resamples; beyond 10,000 prompts there are fewer resamples."""
APART = 2.0
"""Standard errors between two rivals from which on the better one is taken for better."""
WORTHWHILE = 5.0
"""A gain in points below which more calls are not worth their trouble, unless the user says otherwise."""

PULL = 0.05
"""How strongly a curve over length is pulled towards none, so that it exists where lengths part wins from losses."""
STEPS = 30
"""Newton steps to such a curve at most; as a rule it no longer moves after four."""
BLOCK = 2_000_000
"""How many weights are looked at at once."""

Verdict = Literal["worth it", "not worth it", "not shown"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval at the confidence asked for."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.1f} points, interval {self.low:+.1f}..{self.high:+.1f}"


@dataclass(frozen=True, slots=True)
class Rival:
    """What the mixture is compared with on each prompt, in one order for all rivals.

    `gains` are the mixture's over it, from -1 to 1. `cost` (US dollars) and `seconds` are means per prompt, `None` when
    unknown. `longer` says by how many characters the mixture's answer is longer, prompt by prompt, where a judge might
    be taken in by that; empty where length cannot matter.
    """

    name: str
    gains: Sequence[float]
    cost: float | None = None
    seconds: float | None = None
    longer: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The mixture against one rival: `gain` and, with length held equal, `controlled`, both in points.

    `cost_ratio` and `seconds_ratio` say how many times as much the mixture takes, `cost_per_win` what one more prompt
    won costs in US dollars; each is `None` when unknown, or when nothing is won.
    """

    rival: str
    prompts: int
    wins: int
    ties: int
    losses: int
    gain: Estimate
    controlled: Estimate | None = None
    cost_ratio: float | None = None
    seconds_ratio: float | None = None
    cost_per_win: float | None = None

    @property
    def decisive(self) -> Estimate:
        """The gain that the verdict rests on: with length held equal, where it could take a judge in."""
        return self.controlled or self.gain


@dataclass(frozen=True, slots=True)
class Worth:
    """The verdict, in a sentence too, and what it rests on: the first comparison is with the best member."""

    verdict: Verdict
    sentence: str
    comparisons: tuple[Comparison, ...]
    confidence: float


def worth(
    members: Sequence[Rival],
    others: Sequence[Rival] = (),
    *,
    cost: float | None = None,
    seconds: float | None = None,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    worthwhile: float = WORTHWHILE,
    seed: int = 0,
) -> Worth:
    """Whether a mixture is worth its `cost` and `seconds` (means per prompt) against its best member, and the `others`.

    `clusters` names the group of each prompt where several belong together; by default each is its own. The mixture is
    worth it when it is better than every rival beyond the interval, not worth it when it gains nothing or surely less
    than `worthwhile` points. Raises `ConfigError`.
    """
    if not members:
        raise ConfigError("there is no member to compare the mixture with")
    resampled = Resampled(clusters or range(len(members[0].gains)), confidence, seed)
    fields = [members, *([other] for other in others)]
    made = tuple(compared(field, resampled, cost=cost, seconds=seconds) for field in fields)
    verdict, sentence = _judged(made, worthwhile)
    return Worth(verdict, sentence, made, confidence)


def compared(
    rivals: Sequence[Rival], resampled: Resampled, *, cost: float | None = None, seconds: float | None = None
) -> Comparison:
    """The mixture, at its `cost` and `seconds` a prompt, against the best of some rivals. Raises `ConfigError`.

    Which of them is best is not known, only which did best here, perhaps by luck. Where several are about as good, the
    gain is raised by what the luck of the best of them is likely to be, and the interval reaches from the least that
    holds against every one of them to the most that luck explains (Chernozhukov, Lee and Rosen 2013, "Intersection
    Bounds").
    """
    for rival in rivals:
        _check(rival, resampled.count)
    lead = min(rivals, key=lambda rival: sum(rival.gains))
    gain = resampled.least([resampled.mean(rival.gains) for rival in rivals])
    controlled = None
    if all(rival.longer for rival in rivals):
        controlled = resampled.least([resampled.length_controlled(rival.gains, rival.longer) for rival in rivals])
    wins, losses = (sum(sign * one > 0 for one in lead.gains) for sign in (1, -1))
    dearer = None if cost is None or lead.cost is None else cost - lead.cost
    return Comparison(
        lead.name,
        len(lead.gains),
        wins,
        len(lead.gains) - wins - losses,
        losses,
        _in_points(gain),
        controlled and _in_points(controlled),
        cost / lead.cost if cost is not None and lead.cost else None,
        seconds / lead.seconds if seconds is not None and lead.seconds else None,
        dearer / gain.value if dearer is not None and gain.value > 0 else None,
    )


class Sampled(NamedTuple):
    """A statistic, and what it is in each resample; `constant` says that every prompt gave the same."""

    value: float
    draws: Array
    constant: bool


class Resampled:
    """Prompts drawn again and again with replacement, a whole cluster at a time: the bootstrap. Reproducible by seed.

    `clusters` names the cluster of each prompt. Raises `ConfigError`.
    """

    def __init__(self, clusters: Sequence[Hashable], confidence: float = 0.95, seed: int = 0) -> None:
        import numpy as np
        from scipy.special import stdtrit

        if not 0 < confidence < 1:
            raise ConfigError(f"confidence must be between 0 and 1, such as 0.95, not {confidence}")
        numbers = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        if len(numbers) < 2:
            raise ConfigError(
                f"{len(clusters)} prompts in one cluster say nothing of others; give at least two clusters"
            )
        self.count = len(clusters)
        self._clusters = len(numbers)
        self._group = np.array([numbers[name] for name in clusters])
        draws = min(RESAMPLES, max(500, ROOM // self._clusters))
        share = np.full(self._clusters, 1 / self._clusters)
        self._times = np.random.default_rng(seed).multinomial(self._clusters, share, size=draws).astype(float)
        self._alpha = (1 - confidence) / 2
        n = self._clusters
        # few clusters ask for more (Hesterberg 2015, "What teachers should know about the bootstrap", section 3.3)
        self._tail = NormalDist().cdf(math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, self._alpha)))

    def mean(self, values: Sequence[float]) -> Sampled:
        """The mean of values between -1 and 1, one for each prompt."""
        return self._sampled([values], lambda sums: sums[1] / sums[0])

    def length_controlled(self, values: Sequence[float], longer: Sequence[float]) -> Sampled:
        """The mean gain were both answers equally long: a logistic curve of gain over length difference, there.

        A gain counts as a share of the preference, (1 + gain) / 2, and the curve is a regression fitted to such shares
        (Papke and Wooldridge 1996), with a slight pull towards no slope, in each resample anew. Differences count in
        units of their root mean square, so where all are about the same the pull leaves the mean gain as it is.
        """
        import numpy as np

        usual = math.sqrt(np.mean(np.square(longer)))
        if not np.ptp(longer) or not np.ptp(values):
            return self.mean(values)
        size, share = (np.asarray(longer) - np.mean(longer)) / usual, (1 + np.asarray(values)) / 2
        level = -float(np.mean(longer)) / usual
        whole = _curve(size, share, np.ones((1, self.count)), (0.0, 0.0))
        begin = float(whole[0][0]), float(whole[1][0])
        rows = max(1, BLOCK // self.count)
        blocks = (self._times[place : place + rows, self._group] for place in range(0, len(self._times), rows))
        curves = [_curve(size, share, times, begin) for times in blocks]
        draws = np.concatenate([np.tanh((start + slope * level) / 2) for start, slope in curves])
        return Sampled(math.tanh((begin[0] + begin[1] * level) / 2), draws, False)

    def least(self, sampled: Sequence[Sampled]) -> Estimate:
        """The least of some statistics of the same prompts; of one, that one with its interval."""
        import numpy as np

        values = np.array([one.value for one in sampled])
        draws = np.array([one.draws for one in sampled])
        lead = int(values.argmin())
        low = self._lowest(sampled, values, draws)
        if sampled[lead].constant:
            return Estimate(float(values[lead]), low, self._high(sampled[lead]))
        varied = np.array([not one.constant for one in sampled])
        apart = (draws - draws[lead]).std(axis=1)
        close = varied & (values - values[lead] <= APART * apart)
        error = draws[close].std(axis=1)
        luck = ((draws[close] - values[close, None]) / error[:, None]).max(axis=0)
        usual, most = np.quantile(luck, [0.5, 1 - self._tail])
        value = values[lead] if close.sum() == 1 else (values[close] + usual * error).min()
        high = (values[close] + most * error).min()
        return Estimate(float(value), low, min(1.0, float(high)))

    def _lowest(self, sampled: Sequence[Sampled], values: Array, draws: Array) -> float:
        """Below the least of all in as many cases as asked for, were they as far apart as they are here."""
        import numpy as np

        varied = np.array([not one.constant for one in sampled])
        lows = [one.value - self._unseen * (1 + one.value) for one in sampled if one.constant]
        if varied.any():
            error = np.maximum(draws[varied].std(axis=1), 1e-12)
            above = (values[varied] - values.min())[:, None] - (draws[varied] - values[varied, None])
            reach = np.quantile((above / error[:, None]).min(axis=0), 1 - self._tail)
            lows.append(float((values[varied] - reach * error).min()))
        return max(-1.0, min(lows))

    def _high(self, one: Sampled) -> float:
        return one.value + self._unseen * (1 - one.value)

    @property
    def _unseen(self) -> float:
        """So many clusters could be otherwise without one of them being among these, where these all agree."""
        return float(1 - self._alpha ** (1 / self._clusters))

    def _sampled(self, columns: Sequence[Any], statistic: Callable[[Any], Any]) -> Sampled:
        """The statistic of the columns' sums, the count of rows first."""
        import numpy as np

        rows = [np.ones(self.count), *(np.asarray(column, dtype=float) for column in columns)]
        sums = np.array([np.bincount(self._group, row, self._clusters) for row in rows])
        value = float(statistic(sums.sum(axis=1)))
        return Sampled(value, statistic(sums @ self._times.T), float(np.ptp(rows[1])) == 0)


def _curve(size: Array, share: Array, times: Array, begin: tuple[float, float]) -> tuple[Array, Array]:
    """Start and slope of logistic regressions of shares on sizes, one for each row of weights, by Newton's method."""
    import numpy as np

    start, slope = np.full(len(times), begin[0]), np.full(len(times), begin[1])
    for _ in range(STEPS):
        told = 1 / (1 + np.exp(-np.clip(start[:, None] + slope[:, None] * size, -30, 30)))
        missed, weight = times * (share - told), times * told * (1 - told)
        up, along = missed.sum(axis=1) - PULL * start, missed @ size - PULL * slope
        a, b, c = weight.sum(axis=1) + PULL, weight @ size, weight @ (size * size) + PULL
        steps = np.array([c * up - b * along, a * along - b * up]) / (a * c - b * b)
        start, slope = start + np.clip(steps[0], -2, 2), slope + np.clip(steps[1], -2, 2)
        if np.abs(steps).max() < 1e-9:
            break
    return start, slope


def _judged(made: Sequence[Comparison], worthwhile: float) -> tuple[Verdict, str]:
    decisive = min(made, key=lambda one: one.decisive.low)
    least = decisive.decisive
    told = f"{least} over {decisive.rival}{_price(decisive)}"
    if least.low > 0:
        return "worth it", f"worth it for these prompts: {told}"
    if least.value <= 0 or least.high < worthwhile:
        return "not worth it", f"not worth it for these prompts: {told}"
    needed = math.ceil(decisive.prompts * ((least.value - least.low) / least.value) ** 2)
    return "not shown", f"not shown to be worth it: {told}; about {needed:,} such prompts could tell"


def _price(one: Comparison) -> str:
    cost = f", {one.cost_ratio:.1f}x the cost" if one.cost_ratio is not None else ""
    return cost + (f", {one.seconds_ratio:.1f}x the time" if one.seconds_ratio is not None else "")


def _in_points(estimate: Estimate) -> Estimate:
    return Estimate(100 * estimate.value, 100 * estimate.low, 100 * estimate.high)


def _check(rival: Rival, count: int) -> None:
    if len(rival.gains) != count:
        raise ConfigError(f"{rival.name}: {len(rival.gains)} gains for {count} prompts")
    if wrong := [gain for gain in rival.gains if not -1 <= gain <= 1]:
        raise ConfigError(f"{rival.name}: a gain is from -1 to 1, not {wrong[0]}")
    if rival.longer and len(rival.longer) != count:
        raise ConfigError(f"{rival.name}: {len(rival.longer)} lengths for {count} prompts")
