"""A terminal emulator: the screen, the scrollback, and whether the cursor is visible.

It implements the few codes that `moa` writes and rejects any other, so that a new one is noticed.
"""

from __future__ import annotations

import re

_CODES = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+")


class Terminal:
    """Feed it the output. It has no reflow: a narrower width only wraps later text."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.cursor = True
        self._lines = [""]
        self._top = 0  # the first line of the screen
        self._row = 0
        self._column = 0

    @property
    def scrollback(self) -> list[str]:
        return [line.rstrip() for line in self._lines[: self._top]]

    @property
    def screen(self) -> list[str]:
        return [line.rstrip() for line in self._lines[self._top :]]

    @property
    def text(self) -> str:
        """Return all text, including the scrollback."""
        return "\n".join([*self.scrollback, *self.screen]).rstrip("\n")

    def feed(self, written: str) -> None:
        end = 0
        for part in _CODES.finditer(written):
            assert part.start() == end, f"not known: {written[end : end + 20]!r}"
            end = part.end()
            self._take(part)
        assert end == len(written), f"not known: {written[end : end + 20]!r}"

    def _take(self, part: re.Match[str]) -> None:
        private, number, letter = part[1], part[2], part[3]
        if letter == "m":
            return
        if private:
            assert number in ("25", "2026"), part[0]
            if number == "25":
                self.cursor = letter == "h"
        elif letter == "A":
            self._row = max(self._top, self._row - int(number or 1))
        elif letter == "K":
            assert number == "2"
            self._lines[self._row] = ""
        elif part[0] == "\r":
            self._column = 0
        elif part[0] == "\n":
            self._column, self._row = 0, self._row + 1
            if self._row == len(self._lines):
                self._lines.append("")
            self._top = max(self._top, self._row - self.height + 1)
        else:
            assert not letter, part[0]
            line = self._lines[self._row].ljust(self._column)
            self._lines[self._row] = line[: self._column] + part[0] + line[self._column + len(part[0]) :]
            self._column += len(part[0])
