"""Removes control characters from untrusted text, so that it cannot control the terminal."""

from __future__ import annotations

_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def printable(text: str) -> str:
    """Return the text without control characters."""
    return text.translate(_CONTROLS)
