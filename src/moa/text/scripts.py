"""Scripts without spaces between words, where every character counts as a word."""

from __future__ import annotations

import re
from functools import cache

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese, for a character class of a regular expression.

The search index of stored runs is built with it: another set needs a migration that builds the index again.
"""


def is_unspaced(text: str) -> bool:
    """Return whether a text begins with a character of such a script."""
    return _character().match(text) is not None


def spaced(text: str) -> str:
    """Return the text with spaces around each character of such a script."""
    return _character().sub(r" \g<0> ", text)


@cache
def _character() -> re.Pattern[str]:
    return re.compile(f"[{UNSPACED}]")  # takes milliseconds, so not at import
