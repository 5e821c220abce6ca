"""Length-controlled win rates: how often a model would be preferred if its answers were as long as the baseline's.

The model of AlpacaEval 2.0 (Dubois et al. 2024, arXiv 2404.04475; `length_controlled_v1`), for one model against one
baseline:

    logit P(preferred) = length * tanh(d / sd(d)) + difficulty * g + quality * [not gamed]

with d the baseline's length minus the model's, in characters, and g the difficulty of the instruction, known before.
Preferences are soft labels. Brief and wordy answers of the baseline are fitted along with a weight of 0.1, so that
length and difficulty have the weights at which no model can gain by them. The penalty is the sum of the absolute
weights divided by C. C is chosen by five-fold cross-validation unless it is given. The win rate is the mean of the
prediction with d = 0.

Upstream's folds depend on an unstable sort, so its results differ by up to 0.15 points between builds of numpy. The
folds here are the same everywhere. Its standard error ignores that the weights are fitted; `standard_error` does not.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from ...optional import needs
from .logistic import Array, logistic
from .logistic import fit as logistic_fit

with needs("eval"):
    import numpy as np

GRID = tuple(10 ** (-4 + 8 * step / 9) for step in range(10))
"""The values of C that cross-validation chooses from."""

USUAL = GRID[5]
"""The C of most published fits."""

FOLDS = 5
GAMED_WEIGHT = 0.1
PULL = (-18.2692, 41.288)
"""The contribution of the preferences of the gamed answers to the likelihood, for use without these preferences: one
number for length, one for difficulty. Derived from published weights, to 0.003 and 0.010."""


@dataclass(frozen=True)
class Gamed:
    """The anchor: brief and wordy answers of the baseline, against the baseline itself.

    `delta` is in standard deviations; `preferences` may be unknown, see `PULL`.
    """

    delta: Array
    difficulty: Array
    preferences: Array | None

    def features(self) -> Array:
        return np.column_stack((np.tanh(self.delta), self.difficulty, np.zeros_like(self.delta)))

    def pull(self) -> Array:
        if self.preferences is None:
            return np.array((*PULL, 0.0))
        return GAMED_WEIGHT * self.features().T @ self.preferences


@dataclass(frozen=True)
class PairResults:
    """One model against the baseline: rows of preference (0 to 1, or NaN where there is none), lengths, difficulty."""

    preferences: Array
    delta: Array
    difficulty: Array

    def features(self) -> Array:
        return np.column_stack((_shape(self.delta), self.difficulty, np.ones_like(self.delta)))


@dataclass(frozen=True)
class Fit:
    """The weights, and the C of the penalty they were fitted with (`None`: no penalty)."""

    length: float
    difficulty: float
    quality: float
    c: float | None

    def predictions(self, difficulty: Array) -> Array:
        """Return the probability for each instruction that the model is preferred with answers of equal length."""
        return logistic(self.difficulty * difficulty + self.quality)

    def win_rate(self, difficulty: Array) -> float:
        """Return the length-controlled win rate in percent."""
        return 100 * float(self.predictions(difficulty).mean())


def fit(pairs: PairResults, gamed: Gamed, c: float | None = None) -> Fit:
    """Fit the model; C is cross-validated unless it is given.

    C cannot be validated if the preferences of the gamed answers are unknown. The fit then has no penalty unless C is
    given.
    """
    if gamed.preferences is None:
        return _fit(_fit_resamples(pairs, gamed, np.ones((1, len(pairs.delta))), np.zeros(3), c)[0], c)
    known = ~np.isnan(pairs.preferences)
    x = np.vstack((gamed.features(), pairs.features()[known]))
    y = np.concatenate((gamed.preferences, pairs.preferences[known]))
    weight = np.concatenate((np.full(len(gamed.delta), GAMED_WEIGHT), np.ones(int(known.sum()))))
    if c is None:
        c = _validated(x, y, weight)
    return _fit(_liblinear(x, y, weight, c), c)


def _fit(weights: Array, c: float | None) -> Fit:
    length, difficulty, quality = map(float, weights)
    return Fit(length, difficulty, quality, c)


@dataclass(frozen=True, slots=True)
class Controlled:
    """A length-controlled win rate and its standard error in percent, and the penalty's C."""

    win_rate: float
    error: float
    c: float | None


def length_controlled(pairs: PairResults, gamed: Gamed, c: float | None = None, seed: int = 0) -> Controlled:
    """Return the length-controlled win rate. `seed` is that of the bootstrap."""
    fitted = fit(pairs, gamed, c)
    return Controlled(fitted.win_rate(pairs.difficulty), standard_error(pairs, gamed, fitted, seed), fitted.c)


def standard_error(pairs: PairResults, gamed: Gamed, fitted: Fit, seed: int = 0, samples: int = 2000) -> float:
    """Return the standard error of the length-controlled win rate in percent: instructions are resampled, weights
    refitted.

    C stays the same. The gamed answers are given, so they are not resampled.
    """
    dice = np.random.default_rng(seed)
    n, start = len(pairs.delta), np.array((fitted.length, fitted.difficulty, fitted.quality))
    rates: list[Array] = []
    for first in range(0, samples, 100):
        counts = dice.multinomial(n, np.full(n, 1 / n), size=min(100, samples - first)).astype(float)
        weights = _fit_resamples(pairs, gamed, counts, start, fitted.c)
        predicted = logistic(weights[:, 1:2] * pairs.difficulty + weights[:, 2:])
        rates.append((counts * predicted).sum(axis=1) / n)
    return 100 * float(np.concatenate(rates).std(ddof=1))


def _validated(x: Array, y: Array, weight: Array) -> float:
    """Return the C of the grid with the lowest held-out loss."""
    folds = np.arange(len(y))[::-1] % FOLDS
    losses = np.zeros(len(GRID))
    for fold in range(FOLDS):
        out = folds == fold
        for number, c in enumerate(GRID):
            predicted = x[out] @ _liblinear(x[~out], y[~out], weight[~out], c)
            losses[number] += (weight[out] * (np.logaddexp(0, predicted) - y[out] * predicted)).mean()
    return GRID[int(losses.argmin())]


def _liblinear(x: Array, y: Array, weight: Array, c: float) -> Array:
    """Return the weights as liblinear finds them: published results depend on its third decimal."""
    with needs("eval"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    model = LogisticRegression(C=c, l1_ratio=1.0, solver="liblinear", random_state=123, fit_intercept=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # upstream stops at the same iteration
        model.fit(
            np.vstack((x, x)),
            np.repeat((1, 0), len(y)),
            sample_weight=np.concatenate((y * weight, (1 - y) * weight)),
        )
    weights: Array = model.coef_[0]
    return weights


def _fit_resamples(pairs: PairResults, gamed: Gamed, counts: Array, start: Array, c: float | None) -> Array:
    """Return the weights for many weightings of the rows (samples x rows), to full precision."""
    known = ~np.isnan(pairs.preferences)
    weight, y = counts * known, np.where(known, pairs.preferences, 0.0)
    columns = _shape(pairs.delta, counts), pairs.difficulty, np.ones_like(y)
    x = np.stack([np.broadcast_to(column, counts.shape) for column in columns], axis=2)
    anchor = gamed.features()
    target = ((weight * y)[:, None] @ x)[:, 0] + gamed.pull()
    rows = [(x, weight), (anchor, np.full((len(counts), len(anchor)), GAMED_WEIGHT))]
    return logistic_fit(rows, target, start, lasso=1 / c if c else 0.0)


def _shape(delta: Array, counts: Array | None = None) -> Array:
    """Return tanh of the length differences over their standard deviation; with `counts`, that of each resample."""
    if counts is None:
        spread: Array = np.array(float(delta.std(ddof=1)) if len(delta) > 1 else 0.0)
    else:
        n = counts.sum(axis=1)
        mean = counts @ delta / n
        spread = np.sqrt(np.maximum(counts @ delta**2 - n * mean**2, 0) / np.maximum(n - 1, 1))[:, None]
    shaped: Array = np.tanh(np.divide(delta, spread, out=np.zeros(np.broadcast(delta, spread).shape), where=spread > 0))
    return shaped
