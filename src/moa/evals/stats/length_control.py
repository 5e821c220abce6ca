"""Length-controlled win rates: how often a model would be preferred if its answers were as long as the baseline's.

The model of AlpacaEval 2.0 (Dubois et al. 2024, arXiv 2404.04475; `length_controlled_v1`), for one model against one
baseline:

    logit P(preferred) = length * tanh(d / sd(d)) + difficulty * g + quality * [not gamed]

with d the baseline's length less the model's, in characters, and g the difficulty of the instruction, known before.
Preferences are soft labels. Answers of the baseline that was told to be brief, or to be wordy, are fitted along with a
weight of a tenth, so that length and difficulty are held where no model can gain by them. The penalty is the sum of the
absolute weights over C, and C is chosen by five-fold cross-validation unless it is given. The win rate is the mean of
the prediction with d = 0.

Upstream's folds depend on an unstable sort, so its own figures differ by up to 0.15 points between builds of numpy. The
folds here are the same everywhere. Its standard error leaves out that the weights are fitted; `bootstrap` does not.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from ...optional import needs

with needs("eval"):
    import numpy as np
    from numpy.typing import NDArray

Array = NDArray[np.float64]

GRID = tuple(10 ** (-4 + 8 * step / 9) for step in range(10))
"""The values of C that cross-validation chooses from."""

USUAL = GRID[5]
"""The C of most published fits."""

FOLDS = 5
GAMED_WEIGHT = 0.1
PULL = (-18.2692, 41.288)
"""What the preferences of the gamed answers contribute to the likelihood, if these are not to be had: the two numbers
through which they enter it, for length and for difficulty. Read off from published weights, to 0.003 and 0.010."""


@dataclass(frozen=True)
class Gamed:
    """The anchor: answers of the baseline told to be brief, or wordy, against the baseline itself.

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
class Compared:
    """One model against the baseline: rows of preference (0 to 1, or NaN where there is none), lengths, difficulty."""

    preferences: Array
    delta: Array
    difficulty: Array

    def features(self) -> Array:
        return np.column_stack((_shape(self.delta), self.difficulty, np.ones_like(self.delta)))


@dataclass(frozen=True)
class Fit:
    """The weights, and the penalty they were fitted with (`None`: none at all)."""

    length: float
    difficulty: float
    quality: float
    c: float | None

    def predictions(self, difficulty: Array) -> Array:
        """For each instruction, how likely the model is preferred when its answer is as long as the baseline's."""
        return _logistic(self.difficulty * difficulty + self.quality)

    def win_rate(self, difficulty: Array) -> float:
        """The length-controlled win rate in percent."""
        return 100 * float(self.predictions(difficulty).mean())


def fit(compared: Compared, gamed: Gamed, c: float | None = None) -> Fit:
    """Fit the model; C is cross-validated unless it is given.

    Where the preferences of the gamed answers are unknown there is nothing to validate with: the fit is then without a
    penalty unless C is given.
    """
    if gamed.preferences is None:
        return _fit(_newton(compared, gamed, np.ones((1, len(compared.delta))), np.zeros(3), c)[0], c)
    known = ~np.isnan(compared.preferences)
    x = np.vstack((gamed.features(), compared.features()[known]))
    y = np.concatenate((gamed.preferences, compared.preferences[known]))
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


def controlled(compared: Compared, gamed: Gamed, c: float | None = None, seed: int = 0) -> Controlled:
    """The length-controlled win rate; `seed` is that of the bootstrap."""
    fitted = fit(compared, gamed, c)
    return Controlled(fitted.win_rate(compared.difficulty), bootstrap(compared, gamed, fitted, seed), fitted.c)


def bootstrap(compared: Compared, gamed: Gamed, fitted: Fit, seed: int = 0, samples: int = 2000) -> float:
    """The standard error of the length-controlled win rate in percent: instructions drawn anew, everything refitted.

    C stays what it was. The gamed answers stay too: they are given, not sampled.
    """
    dice = np.random.default_rng(seed)
    n, start = len(compared.delta), np.array((fitted.length, fitted.difficulty, fitted.quality))
    rates: list[Array] = []
    for first in range(0, samples, 100):
        drawn = dice.multinomial(n, np.full(n, 1 / n), size=min(100, samples - first)).astype(float)
        weights = _newton(compared, gamed, drawn, start, fitted.c)
        predicted = _logistic(weights[:, 1:2] * compared.difficulty + weights[:, 2:])
        rates.append((drawn * predicted).sum(axis=1) / n)
    return 100 * float(np.concatenate(rates).std(ddof=1))


def _validated(x: Array, y: Array, weight: Array) -> float:
    """The C of the grid whose held-out loss is least."""
    folds = np.arange(len(y))[::-1] % FOLDS
    losses = np.zeros(len(GRID))
    for fold in range(FOLDS):
        out = folds == fold
        for place, c in enumerate(GRID):
            predicted = x[out] @ _liblinear(x[~out], y[~out], weight[~out], c)
            losses[place] += (weight[out] * (np.logaddexp(0, predicted) - y[out] * predicted)).mean()
    return GRID[int(losses.argmin())]


def _liblinear(x: Array, y: Array, weight: Array, c: float) -> Array:
    """The weights as liblinear finds them, which published figures depend on in their third decimal."""
    with needs("eval"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    model = LogisticRegression(C=c, l1_ratio=1.0, solver="liblinear", random_state=123, fit_intercept=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it stops where upstream's stops
        model.fit(
            np.vstack((x, x)),
            np.repeat((1, 0), len(y)),
            sample_weight=np.concatenate((y * weight, (1 - y) * weight)),
        )
    found: Array = model.coef_[0]
    return found


def _newton(compared: Compared, gamed: Gamed, drawn: Array, start: Array, c: float | None) -> Array:
    """The weights for many weightings of the rows at once (samples x rows), by Newton's method, to full precision."""
    known = ~np.isnan(compared.preferences)
    counts, y = drawn * known, np.where(known, compared.preferences, 0.0)
    columns = _shape(compared.delta, drawn), compared.difficulty, np.ones_like(y)
    x = np.stack([np.broadcast_to(column, drawn.shape) for column in columns], axis=2)
    anchor, pull = gamed.features(), gamed.pull()
    squares = (anchor[:, :, None] * anchor[:, None, :]).reshape(len(anchor), 9)
    penalty = 1 / c if c else 0.0

    def loss(beta: Array) -> Array:
        own, theirs = (x @ beta[:, :, None])[:, :, 0], beta @ anchor.T
        fitted = (counts * (np.logaddexp(0, own) - y * own)).sum(axis=1) - beta @ pull
        found: Array = fitted + GAMED_WEIGHT * np.logaddexp(0, theirs).sum(axis=1) + penalty * np.abs(beta).sum(axis=1)
        return found

    beta = np.tile(start, (len(drawn), 1))
    for _ in range(100):
        own, theirs = _logistic((x @ beta[:, :, None])[:, :, 0]), _logistic(beta @ anchor.T)
        slope = ((counts * (own - y))[:, None] @ x)[:, 0] + GAMED_WEIGHT * theirs @ anchor - pull
        bend = x.transpose(0, 2, 1) @ (x * (counts * own * (1 - own))[:, :, None]) + 1e-9 * np.eye(3)
        bend += GAMED_WEIGHT * ((theirs * (1 - theirs)) @ squares).reshape(-1, 3, 3)
        step = _step(beta, slope, bend, penalty)
        if np.abs(step).max() > 0.5:  # farther than a quadratic is to be trusted
            before = loss(beta)
            for _ in range(30):
                worse = loss(beta + step) > before + 1e-9
                if not worse.any():
                    break
                step[worse] /= 2
        beta = beta + step
        if np.abs(step).max() < 1e-7:
            break
    return beta


def _step(beta: Array, slope: Array, bend: Array, penalty: float) -> Array:
    """The step to the least of the quadratic model with the penalty, by coordinate descent."""
    if not penalty:
        return np.asarray(-np.linalg.solve(bend, slope[:, :, None])[:, :, 0], dtype=np.float64)
    step = np.zeros_like(beta)
    for _ in range(200):
        before = step.copy()
        for k in range(beta.shape[1]):
            curve = bend[:, k, k]
            gradient = slope[:, k] + np.einsum("bj,bj->b", bend[:, k], step) - curve * step[:, k]
            aim = curve * beta[:, k] - gradient
            step[:, k] = np.sign(aim) * np.maximum(np.abs(aim) - penalty, 0) / curve - beta[:, k]
        if np.abs(step - before).max() < 1e-10:
            break
    return step


def _shape(delta: Array, drawn: Array | None = None) -> Array:
    """tanh of the differences in length over their standard deviation, over that of each drawn sample if given."""
    if drawn is None:
        spread: Array = np.array(float(delta.std(ddof=1)) if len(delta) > 1 else 0.0)
    else:
        n = drawn.sum(axis=1)
        mean = drawn @ delta / n
        spread = np.sqrt(np.maximum(drawn @ delta**2 - n * mean**2, 0) / np.maximum(n - 1, 1))[:, None]
    shaped: Array = np.tanh(np.divide(delta, spread, out=np.zeros(np.broadcast(delta, spread).shape), where=spread > 0))
    return shaped


def _logistic(x: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
    return found
