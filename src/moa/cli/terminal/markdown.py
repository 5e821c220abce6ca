"""Markdown on a terminal: nothing is hidden, and blocks are final as early as possible."""

from __future__ import annotations

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown
from rich.segment import Segment


class Answer:
    """A model's text, already `printable`, without the empty lines around lists, tables and code."""

    def __init__(self, text: str) -> None:
        self._markdown = _Markdown(text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._markdown, options, pad=False)
        full = [place for place, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
        for line in lines[full[0] : full[-1] + 1] if full else ():
            yield from line
            yield Segment.line()


def settled(text: str) -> int:
    """Return the number of characters of a growing text that further text cannot change."""
    whole = text[: text.rfind("\n") + 1]
    starts = [token.map[0] for token in _parser().parse(whole) if token.level == 0 and token.map and token.nesting >= 0]
    return sum(len(line) + 1 for line in whole.split("\n")[: starts[-1]]) if starts else 0


class _Heading(Heading):
    """A heading that is left-aligned, like the text."""

    LEVEL_ALIGN = dict.fromkeys(Heading.LEVEL_ALIGN, "left")


class _Markdown(Markdown):
    """Markdown that shows HTML and link definitions as text, and keeps line breaks."""

    elements = {**Markdown.elements, "heading_open": _Heading}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__("", hyperlinks=False, code_theme="ansi_dark")
        self.markup = text
        self.parsed = _parser().parse(text)
        for token in self.parsed:
            for child in token.children or ():
                if child.type == "softbreak":
                    child.type = "hardbreak"


def _parser() -> MarkdownIt:
    return MarkdownIt().enable(["strikethrough", "table"]).disable(["html_block", "html_inline", "reference"])
