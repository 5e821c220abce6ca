"""The interval that a mean is likely in, by the bootstrap over clusters of prompts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def interval(values: Sequence[float], clusters: Sequence[Hashable]) -> tuple[float | None, float | None]:
    """Where the mean of values from 0 to 100 is, with a confidence of 95 %; `None` where there are too few clusters."""
    low, high = spread([value - 50 for value in values], clusters, most=50)
    return (None, None) if low is None or high is None else (50 + low, 50 + high)


def spread(
    values: Sequence[float], clusters: Sequence[Hashable], most: float | None = None
) -> tuple[float | None, float | None]:
    """The same for values of any size; `most` is how far from 0 one can be, where that is known."""
    from .bootstrap import Resampled

    if len(set(clusters)) < 2:
        return None, None
    size = most or max(map(abs, values)) or 1.0
    resampled = Resampled(clusters)
    found = resampled.least([resampled.mean([value / size for value in values])])
    return size * found.low, size * found.high
