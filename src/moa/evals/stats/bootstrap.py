"""Confidence intervals of means over prompts, by the bootstrap over clusters of prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

RESAMPLES = 4000
MAX_DRAWS = 40_000_000
"""How many counts of clusters are held in memory. Beyond 10,000 clusters there are fewer resamples."""
APART = 2.0
"""Standard errors between two statistics from which the lower one is taken to be lower."""

RIDGE = 0.05
"""The penalty on the curve over length differences, so that it exists where lengths separate wins from losses."""
BLOCK = 2_000_000
"""How many weights of a curve are fitted at once."""

Interval = tuple[float | None, float | None]
"""The ends of a confidence interval; `None` if unknown."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.1f} points, interval {self.low:+.1f}..{self.high:+.1f}"


class Sampled(NamedTuple):
    """A statistic with its value in each resample. `constant` says that all prompts have the same value."""

    value: float
    draws: Array
    constant: bool


class Bootstrap:
    """Resamples of prompts, drawn with replacement a whole cluster at a time. Reproducible by seed.

    `clusters` names the cluster of each prompt. Raises `ConfigError`.
    """

    def __init__(self, clusters: Sequence[Hashable], confidence: float = 0.95, seed: int = 0) -> None:
        import numpy as np
        from scipy.special import stdtrit

        if not 0 < confidence < 1:
            raise ConfigError(f"confidence: must be between 0 and 1, got {confidence}; 0.95 is usual")
        numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
        if len(numbers) < 2:
            raise ConfigError(f"an interval needs at least two clusters of prompts, got {len(numbers)}")
        self.count = len(clusters)
        self._clusters = len(numbers)
        self._group = np.array([numbers[name] for name in clusters])
        draws = min(RESAMPLES, max(500, MAX_DRAWS // self._clusters))
        share = np.full(self._clusters, 1 / self._clusters)
        self._times = np.random.default_rng(seed).multinomial(self._clusters, share, size=draws).astype(float)
        self._alpha = (1 - confidence) / 2
        n = self._clusters
        # wider for few clusters (Hesterberg 2015, "What teachers should know about the bootstrap", section 3.3)
        self._tail = NormalDist().cdf(math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, self._alpha)))

    def mean(self, values: Sequence[float]) -> Sampled:
        """Return the mean of values between -1 and 1, one per prompt."""
        return self._sampled([values], lambda sums: sums[1] / sums[0])

    def length_controlled(self, gains: Sequence[float], longer: Sequence[float]) -> Sampled:
        """Return the mean gain if answers were equally long: a logistic curve of gain over length difference, at 0.

        A gain counts as a share of the preference, (1 + gain) / 2, and the curve is a fractional logit (Papke and
        Wooldridge 1996) with a slight penalty, fitted again in each resample. Length differences are divided by their
        root mean square, so if all are about the same, the penalty leaves the mean gain unchanged.
        """
        import numpy as np

        from .logistic import fit

        scale = math.sqrt(np.mean(np.square(longer)))
        if not np.ptp(longer) or not np.ptp(gains):
            return self.mean(gains)
        size, share = (np.asarray(longer) - np.mean(longer)) / scale, (1 + np.asarray(gains)) / 2
        equal = np.array((1.0, -float(np.mean(longer)) / scale))
        x = np.column_stack((np.ones_like(size), size))

        def curves(times: Array, start: Array) -> Array:
            return fit([(x, times)], (times * share) @ x, start, ridge=RIDGE)

        start = curves(np.ones((1, self.count)), np.zeros(2))[0]
        rows = max(1, BLOCK // self.count)
        blocks = (self._times[first : first + rows, self._group] for first in range(0, len(self._times), rows))
        draws = np.concatenate([np.tanh(curves(times, start) @ equal / 2) for times in blocks])
        return Sampled(math.tanh(float(start @ equal) / 2), draws, False)

    def least(self, sampled: Sequence[Sampled]) -> Estimate:
        """Return the least of some statistics of the same prompts; for one statistic, that with its interval.

        Where several are about as low, the value is raised by what luck is likely to account for, and the interval
        reaches from the least that holds against all of them to the most that luck explains (Chernozhukov, Lee and
        Rosen 2013, "Intersection Bounds").
        """
        import numpy as np

        values = np.array([statistic.value for statistic in sampled])
        draws = np.array([statistic.draws for statistic in sampled])
        lead = int(values.argmin())
        low = self._lowest(sampled, values, draws)
        if sampled[lead].constant:
            return Estimate(float(values[lead]), low, self._highest(sampled[lead]))
        varied = np.array([not statistic.constant for statistic in sampled])
        apart = (draws - draws[lead]).std(axis=1)
        close = varied & (values - values[lead] <= APART * apart)
        error = draws[close].std(axis=1)
        luck = ((draws[close] - values[close, None]) / error[:, None]).max(axis=0)
        usual, most = np.quantile(luck, [0.5, 1 - self._tail])
        value = values[lead] if close.sum() == 1 else (values[close] + usual * error).min()
        high = (values[close] + most * error).min()
        return Estimate(float(value), low, min(1.0, float(high)))

    def _lowest(self, sampled: Sequence[Sampled], values: Array, draws: Array) -> float:
        """Return a bound below the least of all statistics, at the confidence, given how far apart they are."""
        import numpy as np

        varied = np.array([not statistic.constant for statistic in sampled])
        lows = [one.value - self._unseen * (1 + one.value) for one in sampled if one.constant]
        if varied.any():
            error = np.maximum(draws[varied].std(axis=1), 1e-12)
            above = (values[varied] - values.min())[:, None] - (draws[varied] - values[varied, None])
            reach = np.quantile((above / error[:, None]).min(axis=0), 1 - self._tail)
            lows.append(float((values[varied] - reach * error).min()))
        return max(-1.0, min(lows))

    def _highest(self, statistic: Sampled) -> float:
        return statistic.value + self._unseen * (1 - statistic.value)

    @property
    def _unseen(self) -> float:
        """The share of clusters that could differ without any of them being among these, where these all agree."""
        return float(1 - self._alpha ** (1 / self._clusters))

    def _sampled(self, columns: Sequence[Any], statistic: Callable[[Any], Any]) -> Sampled:
        """Return a statistic of the sums of columns; the first sum is the number of rows."""
        import numpy as np

        rows = [np.ones(self.count), *(np.asarray(column, dtype=float) for column in columns)]
        sums = np.array([np.bincount(self._group, row, self._clusters) for row in rows])
        value = float(statistic(sums.sum(axis=1)))
        return Sampled(value, statistic(sums @ self._times.T), float(np.ptp(rows[1])) == 0)


def percent_interval(values: Sequence[float], clusters: Sequence[Hashable]) -> Interval:
    """Return the 95 % interval of the mean of values from 0 to 100, one per prompt; unknown for a single cluster."""
    low, high = mean_interval([value - 50 for value in values], clusters, limit=50)
    return (None, None) if low is None or high is None else (50 + low, 50 + high)


def mean_interval(values: Sequence[float], clusters: Sequence[Hashable], limit: float | None = None) -> Interval:
    """Return the 95 % interval of the mean of values, one per prompt; `limit` is their greatest possible distance
    from 0."""
    if len(set(clusters)) < 2:
        return None, None
    size = limit or max(map(abs, values)) or 1.0
    bootstrap = Bootstrap(clusters)
    estimate = bootstrap.least([bootstrap.mean([value / size for value in values])])
    return size * estimate.low, size * estimate.high
