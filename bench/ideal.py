"""The critical path of a mixture whose only cost is its models' delays: the lower bound for its latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from names import parse


class Times(NamedTuple):
    """Moments of a reply, in seconds after the request."""

    visible: float
    """The first text that a client can show: a proposal's, as reasoning, or the answer's."""
    word: float
    """The first word of the answer."""
    end: float

    def over(self, least: Times) -> Times:
        """Return the differences to `least`."""
        return Times(self.visible - least.visible, self.word - least.word, self.end - least.end)


def ideal(layers: Sequence[Sequence[str]]) -> Times:
    """Return the minimum for layers of mock models (names.py); the last layer is the aggregator.

    Each layer waits for the slowest model of the one before.
    """
    begun = sum(max(parse(name).end for name in layer) for layer in layers[:-1])
    (last,) = layers[-1]
    return Times(min(parse(name).first for name in layers[0]), begun + parse(last).first, begun + parse(last).end)
