"""How often one model is preferred to another: the share, its standard error, and the same with every win whole.

A preference is a number from 0 (the baseline's answer) to 1 (the model's answer); one half is a tie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WinRate:
    """Win rates and the standard error in percent. Ties count half; `discrete` counts any lead as a whole win."""

    win_rate: float
    discrete: float
    standard_error: float
    wins: int
    losses: int
    ties: int

    @property
    def n(self) -> int:
        return self.wins + self.losses + self.ties


def win_rate(preferences: Sequence[float]) -> WinRate:
    """The win rates of some preferences. The standard error of a single one is not a number."""
    if not preferences:
        raise ValueError("a win rate needs at least one preference")
    n = len(preferences)
    mean = math.fsum(preferences) / n
    wins, losses = sum(one > 0.5 for one in preferences), sum(one < 0.5 for one in preferences)
    ties = n - wins - losses
    spread = math.fsum((one - mean) ** 2 for one in preferences)
    error = math.sqrt(spread / (n - 1) / n) if n > 1 else math.nan
    return WinRate(100 * mean, 100 * (wins + ties / 2) / n, 100 * error, wins, losses, ties)
