"""The interval that a mean is likely in, by the bootstrap over clusters of prompts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def interval(values: Sequence[float], clusters: Sequence[Hashable]) -> tuple[float | None, float | None]:
    """Where the mean of values from 0 to 100 is, with a confidence of 95 %; `None` where there are too few clusters."""
    from .statistics import Resampled

    if len(set(clusters)) < 2:
        return None, None
    resampled = Resampled(clusters)
    found = resampled.least([resampled.mean([value / 50 - 1 for value in values])])  # from -1 to 1, as a gain is
    return 50 * (found.low + 1), 50 * (found.high + 1)
