"""How long to wait for a model, learned from how long it took before."""

from __future__ import annotations

import atexit
import json
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..paths import write_atomically


class LatencyHistory:
    """How long each model took to answer, in seconds: the last `kept` times of each.

    With a `file` they are remembered from one process to the next, as far as that can be done: it is read when they are
    first asked for, and written when the process ends.
    """

    def __init__(self, kept: int = 100, file: Path | None = None) -> None:
        self._kept = kept
        self._seconds: dict[str, deque[float]] = {}
        self._file = file
        self._read = file is None
        self._saving = file is None

    def add(self, model: str, seconds: float) -> None:
        """Count one answer."""
        self._recall()
        self._seconds.setdefault(model, deque(maxlen=self._kept)).append(seconds)
        if not self._saving:
            self._saving = True
            atexit.register(self.save)

    def __getitem__(self, model: str) -> tuple[float, ...]:
        self._recall()
        return tuple(self._seconds.get(model, ()))

    def save(self) -> None:
        """Write the file, whole or not at all; where it cannot be written, nothing is remembered."""
        if self._file is None:
            return
        told = {model: [round(one, 3) for one in seconds] for model, seconds in self.to_json().items()}
        with suppress(OSError):
            self._file.parent.mkdir(0o700, parents=True, exist_ok=True)
            with write_atomically(self._file) as file:
                file.write(json.dumps(told))

    def _recall(self) -> None:
        if self._read or self._file is None:
            return
        self._read = True
        with suppress(OSError, ValueError, AttributeError, TypeError):  # there is none, or it is of no use
            told = json.loads(self._file.read_text("utf-8"))
            for model, times in told.items():
                known = deque((float(one) for one in times), maxlen=self._kept)
                self._seconds[str(model)] = known

    def to_json(self) -> dict[str, list[float]]:
        return {model: list(seconds) for model, seconds in self._seconds.items()}

    def update(self, told: Mapping[str, list[float]]) -> None:
        """Take in what `to_json` gave."""
        for model, seconds in told.items():
            for one in seconds:
                self.add(model, one)


@dataclass(frozen=True)
class AdaptiveTimeout:
    """A deadline for each model: `factor` times the given percentile of its latencies, between `floor` and `cap`.

    All in seconds. A model of which fewer than `least` answers are known is given the cap.
    """

    percentile: float = 95
    factor: float = 1.5
    floor: float = 5.0
    cap: float = 120.0
    least: int = 5
    latencies: LatencyHistory = field(default_factory=LatencyHistory, compare=False, repr=False)

    def learned(self, models: Iterable[str]) -> dict[str, tuple[int, float]]:
        """For each of these models, how many answers are known and how long it is waited for."""
        return {model: (len(self.latencies[model]), self.seconds(model)) for model in models}

    def seconds(self, model: str) -> float:
        """How long to wait for this model."""
        known = sorted(self.latencies[model])
        if len(known) < self.least:
            return self.cap
        place = min(len(known) - 1, round(self.percentile / 100 * (len(known) - 1)))
        return min(self.cap, max(self.floor, self.factor * known[place]))
