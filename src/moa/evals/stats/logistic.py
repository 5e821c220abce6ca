"""Logistic regressions for many weightings of the same rows at once, by Newton's method."""

from __future__ import annotations

from collections.abc import Sequence

from ...optional import needs

with needs("eval"):
    import numpy as np
    from numpy.typing import NDArray

Array = NDArray[np.float64]

Rows = tuple[Array, Array]
"""Features (rows x features, or fits x rows x features) and weights (rows, or fits x rows)."""

STEPS = 100
TRUSTED = 0.5
"""A longer step is halved until the loss no longer grows: the quadratic model does not hold that far."""
CONVERGED = 1e-9


def logistic(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    values: Array = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
    return values


def fit(rows: Sequence[Rows], target: Array, start: Array, *, ridge: float = 0.0, lasso: float = 0.0) -> Array:
    """Return the coefficients (fits x features) that minimize, for each fit,

        sum(weight * log(1 + exp(x @ beta))) - target @ beta + ridge / 2 * |beta|^2 + lasso * |beta|_1

    `target` (fits x features) is the sum of weight * label * x; `start` are the first coefficients of all fits.
    """
    size = target.shape[1]
    beta = np.tile(start, (len(target), 1))

    def loss(beta: Array) -> Array:
        fitted = sum(np.sum(weight * np.logaddexp(0, _scores(x, beta)), axis=1) for x, weight in rows)
        penalty = ridge / 2 * np.square(beta).sum(axis=1) + lasso * np.abs(beta).sum(axis=1)
        values: Array = fitted - (target * beta).sum(axis=1) + penalty
        return values

    for _ in range(STEPS):
        gradient = ridge * beta - target
        hessian = np.tile((ridge + 1e-9) * np.eye(size), (len(target), 1, 1))
        for x, weight in rows:
            chance = logistic(_scores(x, beta))
            gradient = gradient + _weighted_sum(x, weight * chance)
            hessian = hessian + _weighted_squares(x, weight * chance * (1 - chance))
        step = _step(beta, gradient, hessian, lasso)
        if np.abs(step).max() > TRUSTED:
            before = loss(beta)
            for _ in range(30):
                worse = loss(beta + step) > before + 1e-9
                if not worse.any():
                    break
                step[worse] /= 2
        beta = beta + step
        if np.abs(step).max() < CONVERGED:
            break
    return beta


def _scores(x: Array, beta: Array) -> Array:
    return beta @ x.T if x.ndim == 2 else (x @ beta[:, :, None])[:, :, 0]


def _weighted_sum(x: Array, weight: Array) -> Array:
    return weight @ x if x.ndim == 2 else (weight[:, None] @ x)[:, 0]


def _weighted_squares(x: Array, weight: Array) -> Array:
    if x.ndim == 3:
        return np.asarray(x.transpose(0, 2, 1) @ (x * weight[:, :, None]))
    size = x.shape[1]
    squares = (x[:, :, None] * x[:, None, :]).reshape(len(x), size * size)
    return np.asarray((weight @ squares).reshape(-1, size, size))


def _step(beta: Array, gradient: Array, hessian: Array, lasso: float) -> Array:
    """Return the step to the minimum of the quadratic model; with a lasso penalty by coordinate descent."""
    if not lasso:
        return np.asarray(-np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0], dtype=np.float64)
    step = np.zeros_like(beta)
    for _ in range(200):
        before = step.copy()
        for k in range(beta.shape[1]):
            curve = hessian[:, k, k]
            slope = gradient[:, k] + np.einsum("bj,bj->b", hessian[:, k], step) - curve * step[:, k]
            aim = curve * beta[:, k] - slope
            step[:, k] = np.sign(aim) * np.maximum(np.abs(aim) - lasso, 0) / curve - beta[:, k]
        if np.abs(step - before).max() < 1e-10:
            break
    return step
