"""The time that nobody can save: the critical path of a mixture whose models cost nothing but their own delays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from names import parse


class Times(NamedTuple):
    """Moments of a reply, in seconds after the request."""

    visible: float
    """The first word that a client can show: a proposal's, as reasoning, or the answer's."""
    word: float
    """The first word of the answer."""
    end: float

    def over(self, least: Times) -> Times:
        """How much longer each took."""
        return Times(self.visible - least.visible, self.word - least.word, self.end - least.end)


def ideal(layers: Sequence[Sequence[str]]) -> Times:
    """The least that a mixture takes: each layer waits for the slowest of the one before, the last is the aggregator.

    The models are the mock's, whose names are their delays (names.py).
    """
    begun = sum(max(parse(name).end for name in layer) for layer in layers[:-1])
    (last,) = layers[-1]
    return Times(min(parse(name).first for name in layers[0]), begun + parse(last).first, begun + parse(last).end)
