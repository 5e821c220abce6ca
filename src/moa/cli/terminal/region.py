"""The last lines of a terminal, redrawn in place. Output above them is final and scrolls away as usual.

It replaces `rich.live`, which loses lines from the scrollback when they do not fit the screen, and repeats them when
the window is made narrower.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.cells import cell_len

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # the terminal shows what is between them at once, or ignores them
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"


class Region:
    """A context manager that hides the cursor and redraws the last lines of the terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._widths: list[int] = []  # of the lines now drawn, in cells

    def __enter__(self) -> Self:
        self._write(_HIDE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(_SHOW)

    def draw(self, live: Sequence[RenderableType], above: Sequence[RenderableType] = ()) -> None:
        """Print `above` where the region was, and draw `live` below it, cut at the top to the height of the screen."""
        lines = self._lines(live)[-max(1, self.console.height - 1) :] if live else []
        done = self._lines(above)
        old = self._height()
        over = max(0, old - len(done) - len(lines))
        # line by line: some terminals move into the scrollback what is cleared at once
        text = "".join(f"\x1b[2K{line}\n" for line in (*done, *lines, *[""] * over))
        self._write(f"{_BEGIN}\r{_up(old)}{text}{_up(over)}{_END}")
        self._widths = [cell_len(_ESCAPES.sub("", line)) for line in lines]

    def _height(self) -> int:
        """Return the number of lines drawn last, including those that a narrower window has wrapped."""
        return sum(max(1, -(-cells // self.console.width)) for cells in self._widths)

    def _lines(self, renderables: Sequence[RenderableType]) -> list[str]:
        if not renderables:
            return []
        with self.console.capture() as capture:
            for renderable in renderables:
                self.console.print(renderable)
        return [_trimmed(line) for line in capture.get().split("\n")[:-1]]

    def _write(self, text: str) -> None:
        self.console.file.write(text)
        self.console.file.flush()


def _up(lines: int) -> str:
    return f"\x1b[{lines}A" if lines else ""


def _trimmed(line: str) -> str:
    """Return the line without trailing spaces, which would wrap if the window is made narrower."""
    return line.rstrip(" ")
