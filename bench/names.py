"""What the name of a mock model says: `d1.0-w64-p0.01` waits 1.0 s, then says 64 words, one every 0.01 s.

A name's parts, in any order; what is none of them (`-a`) tells one model from another, and throws other dice:

    d0.2  seconds until the first word
    w64   how many words
    p0.01 seconds for each word; all is said at d + w * p
    f0.2  how likely a call fails, in one of the ways below
    429, 500, cut (in the middle), stall (in the middle, for ever), garbage, slow (by 0.4 s): what happens to every call
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

FAULTS = ("429", "500", "cut", "stall", "garbage", "slow")


class Told(NamedTuple):
    """What a model's name says."""

    first: float = 0.0
    words: int = 8
    pace: float = 0.0
    fails: float = 0.0
    fault: str = "none"

    @property
    def end(self) -> float:
        """When all is said, in seconds after the request."""
        return self.first + self.words * self.pace


@cache
def told(name: str) -> Told:
    values: dict[str, Any] = {}
    for part in name.split("-"):
        if part in FAULTS:
            values["fault"] = part
        elif re.fullmatch(r"[dwpf][\d.]+", part):
            key = {"d": "first", "w": "words", "p": "pace", "f": "fails"}[part[0]]
            values[key] = float(part[1:]) if part[0] in "dpf" else int(part[1:])
    return Told(**values)
