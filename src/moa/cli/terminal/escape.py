"""What a model or an upstream says is shown without the characters that would command the terminal."""

from __future__ import annotations

_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def printable(text: str) -> str:
    """The text without control characters, with which a model could take over a terminal."""
    return text.translate(_CONTROLS)
