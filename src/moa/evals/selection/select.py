"""Selection of models that complement each other, by quality and by the diversity of their answers.

The selected set has the highest

    mean quality of its members + weight * mean, over its pairs, of (1 - similarity)

found greedily from the best model on. Quality is a model's mean preference from 0 to 1, similarity the mean similarity
of two models' answers to the same prompts. The weight is chosen by cross-validation over the prompts: that whose sets
contain the best answers to held-out prompts. Diversity helps if the best models are similar, and not otherwise;
diversity without quality selects bad models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import ConfigError
from ...optional import needs

with needs("eval"):
    import numpy as np
    from numpy.typing import NDArray

Array = NDArray[np.float64]

Method = Literal["both", "quality", "diversity"]

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3)
USUAL = 0.2
"""The weights for cross-validation, and the preferred one if several are equally good."""

FOLDS = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected models in order. `weight` is that of diversity, `None` if only diversity counted.

    `score` is the quality of the best of their answers: the mean over the prompts of the highest preference, in
    percent.
    """

    members: tuple[str, ...]
    score: float
    weight: float | None


def select(
    preferences: Mapping[str, Sequence[float | None]],
    similarity: Mapping[tuple[str, str], float],
    k: int,
    method: Method = "both",
    seed: int = 0,
    weight: float | None = None,
) -> Selection:
    """Select `k` of the models with preferences (from 0 to 1, one per prompt in one order; `None` is missing).

    `similarity` of two models is from 0 to 1, for either order of their names. A missing preference counts as the
    model's mean, a missing similarity as the mean of all. Ties are resolved by name. `seed` draws the folds of the
    cross-validation, which a given `weight` replaces. Raises `ConfigError`.
    """
    if method not in get_args(Method):
        raise ConfigError(f"method: must be one of {', '.join(get_args(Method))}, got {method!r}")
    names = sorted(preferences)
    if not 1 <= k <= len(names):
        raise ConfigError(f"k: must be from 1 to {len(names)}, the number of models, got {k}")
    scores = _filled(names, preferences)
    diversity = 1 - _table(names, similarity)
    if method == "diversity":
        weight, chosen = None, _greedy(np.zeros(len(names)), diversity, k, 1.0, _most_diverse(diversity))
    else:
        if method == "quality":
            weight = 0.0
        elif weight is None:
            weight = _validated(scores, diversity, k, seed)
        chosen = _best(scores, diversity, k, weight)
    return Selection(tuple(names[index] for index in chosen), 100 * _oracle(scores, chosen), weight)


def _filled(names: Sequence[str], preferences: Mapping[str, Sequence[float | None]]) -> Array:
    """Return preferences as prompts x models, with the means of models for missing values."""
    lengths = {len(preferences[name]) for name in names}
    if len(lengths) != 1 or not lengths.pop():
        raise ConfigError("preferences: all models need the same number of prompts, at least one")
    table = np.array(
        [[np.nan if value is None else value for value in preferences[name]] for name in names], dtype=float
    )
    gaps = np.isnan(table)
    if empty := [name for name, missing in zip(names, gaps.all(axis=1), strict=True) if missing]:
        raise ConfigError(f"{', '.join(empty)}: has no preferences")
    if wrong := [name for name, row in zip(names, table, strict=True) if np.nanmin(row) < 0 or np.nanmax(row) > 1]:
        raise ConfigError(f"{', '.join(wrong)}: preferences must be from 0 to 1")
    means = np.nanmean(table, axis=1, keepdims=True)
    return np.where(gaps, means, table).T


def _table(names: Sequence[str], similarity: Mapping[tuple[str, str], float]) -> Array:
    table = np.full((len(names), len(names)), np.nan)
    for i, one in enumerate(names):
        for j, other in enumerate(names[:i]):
            value = similarity.get((one, other), similarity.get((other, one)))
            if value is not None:
                table[i, j] = table[j, i] = value
    known = table[~np.isnan(table)]
    return np.where(np.isnan(table), known.mean() if len(known) else 0.0, table)


def _best(scores: Array, diversity: Array, k: int, weight: float) -> list[int]:
    quality = scores.mean(axis=0)
    return _greedy(quality, diversity, k, weight, [int(quality.argmax())])


def _greedy(quality: Array, diversity: Array, k: int, weight: float, first: list[int]) -> list[int]:
    chosen = first[:k]
    while len(chosen) < k:
        size = len(chosen) + 1
        mean = (quality[chosen].sum() + quality) / size
        inside = diversity[np.ix_(chosen, chosen)][np.triu_indices(len(chosen), 1)].sum()
        value = mean + weight * (inside + diversity[chosen].sum(axis=0)) / (size * (size - 1) / 2)
        value[chosen] = -np.inf
        chosen = [*chosen, int(value.argmax())]
    return chosen


def _most_diverse(diversity: Array) -> list[int]:
    """Return the two least similar models, or the only one."""
    if len(diversity) < 2:
        return [0]
    pairs = np.where(np.triu(np.ones_like(diversity), 1) > 0, diversity, -np.inf)
    one, other = np.unravel_index(int(pairs.argmax()), pairs.shape)
    return [int(one), int(other)]


def _validated(scores: Array, diversity: Array, k: int, seed: int) -> float:
    """Return the weight whose sets contain the best answers to held-out prompts."""
    order = np.random.default_rng(seed).permutation(len(scores))
    reached = dict.fromkeys(WEIGHTS, 0.0)
    for fold in np.array_split(order, min(FOLDS, len(order))):
        rest = np.delete(scores, fold, axis=0)
        if len(rest):
            for weight in WEIGHTS:
                reached[weight] += _oracle(scores[fold], _best(rest, diversity, k, weight))
    most = max(reached.values())
    return min(
        (weight for weight in WEIGHTS if reached[weight] >= most - 1e-12), key=lambda weight: abs(weight - USUAL)
    )


def _oracle(scores: Array, chosen: Sequence[int]) -> float:
    return float(scores[:, list(chosen)].max(axis=1).mean())
