"""How long to wait for a model, learned from how long it took before."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


class Latencies:
    """How long each model took to answer, in seconds: the last `kept` times of each."""

    def __init__(self, kept: int = 100) -> None:
        self._kept = kept
        self._seconds: dict[str, deque[float]] = {}

    def add(self, model: str, seconds: float) -> None:
        self._seconds.setdefault(model, deque(maxlen=self._kept)).append(seconds)

    def __getitem__(self, model: str) -> tuple[float, ...]:
        return tuple(self._seconds.get(model, ()))

    def to_json(self) -> dict[str, list[float]]:
        return {model: list(seconds) for model, seconds in self._seconds.items()}

    def update(self, told: Mapping[str, list[float]]) -> None:
        """Take in what `to_json` gave."""
        for model, seconds in told.items():
            for one in seconds:
                self.add(model, one)


@dataclass(frozen=True)
class Patience:
    """A deadline for each model: `factor` times the given percentile of its latencies, between `floor` and `cap`.

    All in seconds. A model of which fewer than `least` answers are known is given the cap.
    """

    percentile: float = 95
    factor: float = 1.5
    floor: float = 5.0
    cap: float = 120.0
    least: int = 5
    latencies: Latencies = field(default_factory=Latencies, compare=False, repr=False)

    def seconds(self, model: str) -> float:
        """How long to wait for this model."""
        known = sorted(self.latencies[model])
        if len(known) < self.least:
            return self.cap
        place = min(len(known) - 1, round(self.percentile / 100 * (len(known) - 1)))
        return min(self.cap, max(self.floor, self.factor * known[place]))
