"""Parses mock model names: `d1.0-w64-p0.01` waits 1.0 s, then streams 64 words, one every 0.01 s.

Parts come in any order. Other parts (`-a`) make a name unique and seed its random faults:

    d0.2  seconds to the first word
    w64   number of words
    p0.01 seconds per word; the reply ends at d + w * p
    steps respects max_tokens (one token per word), and continues the assistant's words in the conversation
    429, 500, cut or stall (in mid-reply), garbage, slow (ten times the delay): the kind of fault
    f0.2  probability of a fault, of that kind or of a random one
    e5    every fifth call has a fault; without f and e every call has
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

FAULTS = ("429", "500", "cut", "stall", "garbage", "slow")
MARK = "[whole]"
"""The last word of a complete reply."""


class Behaviour(NamedTuple):
    """The behaviour that a model's name defines."""

    first: float = 0.0
    words: int = 8
    pace: float = 0.0
    fails: float | None = None
    every: int = 1
    fault: str = ""
    steps: bool = False

    @property
    def end(self) -> float:
        """The end of the reply, in seconds after the request."""
        return self.first + self.words * self.pace


@cache
def parse(name: str) -> Behaviour:
    values: dict[str, Any] = {}
    for part in name.split("-"):
        if part in FAULTS:
            values["fault"] = part
        elif part == "steps":
            values["steps"] = True
        elif re.fullmatch(r"[dwpfe][\d.]+", part):
            key = {"d": "first", "w": "words", "p": "pace", "f": "fails", "e": "every"}[part[0]]
            values[key] = float(part[1:]) if part[0] in "dpf" else int(part[1:])
    return Behaviour(**values)
