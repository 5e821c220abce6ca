"""What the name of a mock model says: `d1.0-w64-p0.01` waits 1.0 s, then says 64 words, one every 0.01 s.

A name's parts, in any order; what is none of them (`-a`) tells one model from another, and throws other dice:

    d0.2  seconds until the first word
    w64   how many words
    p0.01 seconds for each word; all is said at d + w * p
    steps it heeds max_tokens, a word being a token, and goes on from the words it has said in the conversation
    429, 500, cut or stall (in the middle), garbage, slow (ten times as late): how calls go wrong
    f0.2  how likely a call goes wrong, in that way, or else in any
    e5    that it is every fifth call; without f and e it is every call
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

FAULTS = ("429", "500", "cut", "stall", "garbage", "slow")
MARK = "[whole]"
"""What every whole text ends in."""


class Behaviour(NamedTuple):
    """What a model's name says."""

    first: float = 0.0
    words: int = 8
    pace: float = 0.0
    fails: float | None = None
    every: int = 1
    fault: str = ""
    steps: bool = False

    @property
    def end(self) -> float:
        """When all is said, in seconds after the request."""
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
