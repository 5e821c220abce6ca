"""Adaptive timeouts: how long to wait for a model, learned from its past latencies."""

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
    """The latest latencies of each model in seconds, at most `kept` of each.

    With a `file` they are kept from process to process where possible: it is read on first use and written at exit.
    """

    def __init__(self, kept: int = 100, file: Path | None = None) -> None:
        self._kept = kept
        self._seconds: dict[str, deque[float]] = {}
        self._file = file
        self._loaded = file is None
        self._saving = file is None

    def add(self, model: str, seconds: float) -> None:
        """Add the latency of one answer."""
        self._load()
        self._seconds.setdefault(model, deque(maxlen=self._kept)).append(seconds)
        if not self._saving:
            self._saving = True
            atexit.register(self.save)

    def __getitem__(self, model: str) -> tuple[float, ...]:
        self._load()
        return tuple(self._seconds.get(model, ()))

    def save(self) -> None:
        """Write the file atomically. If it cannot be written, the latencies are lost."""
        if self._file is None:
            return
        rounded = {model: [round(value, 3) for value in seconds] for model, seconds in self.to_json().items()}
        with suppress(OSError):
            self._file.parent.mkdir(0o700, parents=True, exist_ok=True)
            with write_atomically(self._file) as file:
                file.write(json.dumps(rounded))

    def _load(self) -> None:
        if self._loaded or self._file is None:
            return
        self._loaded = True
        with suppress(OSError, ValueError, AttributeError, TypeError):  # the file is missing or damaged
            content = json.loads(self._file.read_text("utf-8"))
            for model, values in content.items():
                self._seconds[str(model)] = deque((float(value) for value in values), maxlen=self._kept)

    def to_json(self) -> dict[str, list[float]]:
        """Return the latencies by model."""
        return {model: list(seconds) for model, seconds in self._seconds.items()}

    def update(self, latencies: Mapping[str, list[float]]) -> None:
        """Add what `to_json` returned."""
        for model, seconds in latencies.items():
            for value in seconds:
                self.add(model, value)


@dataclass(frozen=True)
class AdaptiveTimeout:
    """A timeout for each model: `multiplier` times a percentile of its latencies, between `min` and `max` seconds.

    A model with fewer than `least` known latencies gets `max`.
    """

    percentile: float = 95
    multiplier: float = 1.5
    min: float = 5.0
    max: float = 120.0
    least: int = 5
    latencies: LatencyHistory = field(default_factory=LatencyHistory, compare=False, repr=False)

    def learned(self, models: Iterable[str]) -> dict[str, tuple[int, float]]:
        """Return the number of known latencies and the timeout of each of these models."""
        return {model: (len(self.latencies[model]), self.seconds(model)) for model in models}

    def seconds(self, model: str) -> float:
        """Return the timeout for this model."""
        latencies = sorted(self.latencies[model])
        if len(latencies) < self.least:
            return self.max
        index = min(len(latencies) - 1, round(self.percentile / 100 * (len(latencies) - 1)))
        return min(self.max, max(self.min, self.multiplier * latencies[index]))
