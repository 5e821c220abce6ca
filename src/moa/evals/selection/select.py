"""Which models go together: by how good each one is, and by how unlike their answers are.

The set that is chosen has the highest

    mean quality of its members + weight * mean, over its pairs, of (1 - likeness)

found greedily from the best model on. Quality is a model's mean preference from 0 to 1, likeness the mean similarity of
two models' answers to the same prompts. The weight is chosen by cross-validation over the prompts: the one whose sets
hold the best answers to prompts that were not used to choose them. Diversity pays where the best models are alike and
nothing elsewhere; diversity without quality chooses bad models.
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
"""The weights that cross-validation chooses from, and the one that is preferred where several do as well."""

FOLDS = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """The models chosen, in that order. `weight` is that of diversity, `None` where nothing else counted.

    `score` is how good the best of their answers are: the mean over all prompts of the highest preference, in percent.
    """

    members: tuple[str, ...]
    score: float
    weight: float | None


def select(
    preferences: Mapping[str, Sequence[float | None]],
    likeness: Mapping[tuple[str, str], float],
    k: int,
    method: Method = "both",
    seed: int = 0,
    weight: float | None = None,
) -> Selection:
    """Choose `k` of the models that have preferences (from 0 to 1, a prompt each in one order; `None` is missing).

    `likeness` of two models is from 0 to 1, for either order of their names. What is missing counts as the model's
    mean, or as the mean likeness. Ties go by name. `seed` decides which prompts are validated together; with a `weight`
    nothing is validated. Raises `ConfigError`.
    """
    if method not in get_args(Method):
        raise ConfigError(f"no method {method!r}; there are: {', '.join(get_args(Method))}")
    names = sorted(preferences)
    if not 1 <= k <= len(names):
        raise ConfigError(f"cannot choose {k} of {len(names)} models")
    judged = _filled(names, preferences)
    apart = 1 - _table(names, likeness)
    if method == "diversity":
        weight, chosen = None, _greedy(np.zeros(len(names)), apart, k, 1.0, _farthest(apart))
    else:
        if method == "quality":
            weight = 0.0
        elif weight is None:
            weight = _validated(judged, apart, k, seed)
        chosen = _best(judged, apart, k, weight)
    return Selection(tuple(names[one] for one in chosen), 100 * _oracle(judged, chosen), weight)


def _filled(names: Sequence[str], preferences: Mapping[str, Sequence[float | None]]) -> Array:
    """Prompts x models."""
    lengths = {len(preferences[name]) for name in names}
    if len(lengths) != 1 or not lengths.pop():
        raise ConfigError("every model must have a preference, or a gap, for each of the same prompts")
    table = np.array([[np.nan if one is None else one for one in preferences[name]] for name in names], dtype=float)
    gaps = np.isnan(table)
    if empty := [name for name, none in zip(names, gaps.all(axis=1), strict=True) if none]:
        raise ConfigError(f"{', '.join(empty)}: no preference at all")
    if wrong := [name for name, row in zip(names, table, strict=True) if np.nanmin(row) < 0 or np.nanmax(row) > 1]:
        raise ConfigError(f"{', '.join(wrong)}: preferences must be from 0 to 1")
    means = np.nanmean(table, axis=1, keepdims=True)
    return np.where(gaps, means, table).T


def _table(names: Sequence[str], likeness: Mapping[tuple[str, str], float]) -> Array:
    table = np.full((len(names), len(names)), np.nan)
    for i, one in enumerate(names):
        for j, other in enumerate(names[:i]):
            found = likeness.get((one, other), likeness.get((other, one)))
            if found is not None:
                table[i, j] = table[j, i] = found
    known = table[~np.isnan(table)]
    return np.where(np.isnan(table), known.mean() if len(known) else 0.0, table)


def _best(judged: Array, apart: Array, k: int, weight: float) -> list[int]:
    quality = judged.mean(axis=0)
    return _greedy(quality, apart, k, weight, [int(quality.argmax())])


def _greedy(quality: Array, apart: Array, k: int, weight: float, begun: list[int]) -> list[int]:
    chosen = begun[:k]
    while len(chosen) < k:
        size = len(chosen) + 1
        good = (quality[chosen].sum() + quality) / size
        inside = apart[np.ix_(chosen, chosen)][np.triu_indices(len(chosen), 1)].sum()
        worth = good + weight * (inside + apart[chosen].sum(axis=0)) / (size * (size - 1) / 2)
        worth[chosen] = -np.inf
        chosen = [*chosen, int(worth.argmax())]
    return chosen


def _farthest(apart: Array) -> list[int]:
    """The two that are least alike, or the only one."""
    if len(apart) < 2:
        return [0]
    pairs = np.where(np.triu(np.ones_like(apart), 1) > 0, apart, -np.inf)
    one, other = np.unravel_index(int(pairs.argmax()), pairs.shape)
    return [int(one), int(other)]


def _validated(judged: Array, apart: Array, k: int, seed: int) -> float:
    """The weight whose sets hold the best answers to prompts that were left out."""
    order = np.random.default_rng(seed).permutation(len(judged))
    reached = dict.fromkeys(WEIGHTS, 0.0)
    for fold in np.array_split(order, min(FOLDS, len(order))):
        rest = np.delete(judged, fold, axis=0)
        if len(rest):
            for weight in WEIGHTS:
                reached[weight] += _oracle(judged[fold], _best(rest, apart, k, weight))
    most = max(reached.values())
    return min(
        (weight for weight in WEIGHTS if reached[weight] >= most - 1e-12), key=lambda weight: abs(weight - USUAL)
    )


def _oracle(judged: Array, chosen: Sequence[int]) -> float:
    return float(judged[:, list(chosen)].max(axis=1).mean())
