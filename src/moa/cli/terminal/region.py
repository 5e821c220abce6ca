"""The last lines of a terminal, drawn again in place; what is put above them stays and scrolls away like any output.

This file knows nothing of models. It stands in for `rich.live`, whose lines are lost from the scrollback when they are
more than the screen holds, and are doubled when the window is made narrower.
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
    """Use as a context manager: the cursor is hidden inside it and back after it, whatever happens."""

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
        """Put `above` for good where the region was, and `live` below it, cut at the top to what the screen holds."""
        lines = self._lines(live)[-max(1, self.console.height - 1) :] if live else []
        done = self._lines(above)
        old = self._height()
        over = max(0, old - len(done) - len(lines))
        # line by line: some terminals move into the scrollback what is cleared at once
        text = "".join(f"\x1b[2K{line}\n" for line in (*done, *lines, *[""] * over))
        self._write(f"{_BEGIN}\r{_up(old)}{text}{_up(over)}{_END}")
        self._widths = [cell_len(_ESCAPES.sub("", line)) for line in lines]

    def _height(self) -> int:
        """How many lines were drawn last. A window made narrower has wrapped them to more since."""
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
    """Without the spaces at its end, which would wrap when the window is made narrower."""
    return line.rstrip(" ")
