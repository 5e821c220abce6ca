"""The difference between two texts, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal

Change = Literal["same", "gone", "new"]

LONG = 4_000_000
"""Texts count as long from this many pairs of words."""


def words(before: str, after: str) -> Iterator[tuple[Change, str]]:
    """Yield what two texts share, what only the first has and what only the second has, in order, by whole words.

    In long texts, frequent words match only next to other matches.
    """
    first, second = (re.findall(r"(?:^\s+)?\S+\s*", text) for text in (before, after))
    stripped = [[word.strip() for word in text] for text in (first, second)]
    matcher = SequenceMatcher(a=stripped[0], b=stripped[1], autojunk=len(first) * len(second) > LONG)
    for kind, begin, end, start, stop in matcher.get_opcodes():
        if kind == "equal":
            yield "same", "".join(second[start:stop])
        else:
            if end > begin:
                yield "gone", "".join(first[begin:end])
            if stop > start:
                yield "new", "".join(second[start:stop])
