"""How two texts differ, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal

Change = Literal["same", "gone", "new"]

LONG = 4_000_000
"""Pairs of words from which texts are long."""


def words(one: str, other: str) -> Iterator[tuple[Change, str]]:
    """What is the same in two texts, what only the first has and what only the second, in order, by whole words.

    Of long texts the frequent words are not looked for by themselves, only where their neighbours are the same too.
    """
    first, second = (re.findall(r"(?:^\s+)?\S+\s*", text) for text in (one, other))
    one_by_one = [[word.strip() for word in text] for text in (first, second)]
    matcher = SequenceMatcher(a=one_by_one[0], b=one_by_one[1], autojunk=len(first) * len(second) > LONG)
    for kind, begin, end, start, stop in matcher.get_opcodes():
        if kind == "equal":
            yield "same", "".join(second[start:stop])
        else:
            if end > begin:
                yield "gone", "".join(first[begin:end])
            if stop > start:
                yield "new", "".join(second[start:stop])
