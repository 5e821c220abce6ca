"""The live view of a run in a terminal: a row per call, the answer as it streams, then a summary.

It is computed from events alone, so replaying a stored run shows the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ... import notes
from ...events import Event, TextDelta
from ...span import StreamMode
from ...trace.tree import Node, Trace
from ...types import Response, estimate_tokens
from .escape import printable
from .footer import remarks, summary
from .markdown import Answer, settled
from .region import Region

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
STYLES = {
    "queued": "dim",
    "retrying": "yellow",
    "thinking": "cyan",
    "prewarming": "cyan",
    "writing": "blue",
    "done": "green",
    "failed": "red",
}
MARKS = {"queued": "·", "retrying": "↻", "done": "✓", "failed": "✗", "stopped": "■"}
_READABLE = 100
"""Maximum columns of an answer: longer lines are hard to read."""


def state(node: Node) -> str:
    """Return the state of a call in one word."""
    if node.end:
        return "failed" if node.error else "done"
    if node.start.role == "prewarm":
        return "prewarming"
    if node.text:
        return "writing"
    note = node.notes[-1].data if node.notes else None
    if isinstance(note, notes.Retry) and node.first_word is None:
        return "retrying"
    return "queued" if isinstance(note, notes.Queued) else "thinking"


def places(node: Node, place: str = "") -> Iterator[tuple[str, Node]]:
    """Yield every call with its layer: "2", or "2.1" in the first layer of a mixture that is itself in layer 2."""
    if node.is_call:
        yield place, node
        return
    number = 0
    for child in node.children:
        if child.start.role == "layer":
            number = child.start.layer or 0
            for call in child.children:
                yield from places(call, _joined(place, number))
        else:
            yield from places(child, _joined(place, number + 1) if number else place)


class Screen:
    """The live view of a run. When the answer begins, the rows of finished calls stay above it."""

    words: StreamMode = "all"

    def __init__(
        self, console: Console, proposals: bool = False, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.trace = Trace()
        self._region = Region(console).__enter__()
        self._proposals = proposals
        self._clock = clock
        self._event_at = clock()
        self._answer = ""
        self._printed = 0  # characters of the answer above the region, which are not redrawn
        self._kept: set[str] = set()  # calls whose rows are above the region

    def add(self, event: Event) -> None:
        self.trace.add(event)
        self._event_at = self._clock()
        if isinstance(event, TextDelta) and event.answer and event.kind == "text":
            self._answer += printable(event.text)

    def draw(self) -> None:
        above: list[RenderableType] = []
        if self._answer:
            above += self._opening()
            end = self._printed + settled(self._answer[self._printed :])
            above += self._block(end)
        unfinished = self._answer[self._printed :].lstrip("\n")
        live: list[RenderableType] = [self._shown(unfinished), ""] if unfinished.strip() else []
        self._region.draw([*live, self._table(self._rows(), header=not self._answer)], above)

    def close(self, response: Response | None) -> None:
        if response is not None and not self._answer:
            self._answer = printable(response.text)
        end: list[RenderableType] = [*self._opening(), *self._block(len(self._answer))] if self._answer else []
        end.append(self._table(self._rows(), header=not self._answer, over=True))
        if response is not None:
            end.append(Text(summary(self.trace, response), "dim"))
            end += [Text(printable(line), "red") for line in remarks(self.trace, response)]
        self._region.draw([], end)
        self._region.__exit__(None, None, None)

    def _opening(self) -> list[RenderableType]:
        """Return what precedes the answer: the rows of finished calls, and the proposals if they are shown."""
        if self._kept:
            return []
        ended = [(place, node) for place, node in self._rows() if node.end]
        self._kept = {node.start.span for _, node in ended} | {""}
        parts: list[RenderableType] = [self._table(ended, header=True, over=True), ""] if ended else []
        if self._proposals:
            for place, node in ended:
                if node.start.role == "proposer" and not node.error:
                    parts += [
                        self._heading(f"layer {place}: {node.start.model}"),
                        self._shown(printable(node.text)),
                        "",
                    ]
            parts.append(self._heading("answer"))
        return parts

    def _heading(self, words: str) -> RenderableType:
        return Rule(f"[bold]{escape(printable(words))}", align="left", style="dim")

    def _block(self, end: int) -> list[RenderableType]:
        """Return the blocks of the answer up to a character, followed by an empty line. They are not redrawn."""
        text, self._printed = self._answer[self._printed : end], end
        return [self._shown(text), ""] if text.strip() else []

    def _shown(self, text: str) -> RenderableType:
        width = self._region.console.width
        return Padding(Answer(text), (0, max(0, width - _READABLE), 0, 0), expand=False)

    def _rows(self) -> list[tuple[str, Node]]:
        """Return the calls whose rows are not above the region yet."""
        root = self.trace.root
        return [row for row in places(root) if row[1].start.span not in self._kept] if root else []

    def _table(self, rows: Iterable[tuple[str, Node]], header: bool, over: bool = False) -> RenderableType:
        rows = list(rows)
        now = self.trace.time if over else self.trace.time + self._clock() - self._event_at
        names = [cell_len(node.start.model) for node in self.trace.calls]
        width = self._region.console.width
        layered = any(place for place, _ in rows)
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        if layered:
            table.add_column(width=5, no_wrap=True)
        table.add_column(width=min(max(names, default=5), max(12, width // 4)))
        table.add_column(width=10, no_wrap=True)
        table.add_column(ratio=1)
        table.add_column(width=6, justify="right", no_wrap=True)
        table.add_column(width=7, justify="right", no_wrap=True)
        if header and rows:
            table.add_row(*["layer"] * layered, "model", "state", "words", "tokens", "time", style="dim")
        hidden = [] if over else rows[: max(0, len(rows) - self._region.console.height + 4)]
        if hidden:
            rows = rows[len(hidden) :]
            table.add_row(*[""] * layered, Text(f"{len(hidden)} more", "dim"))
        last = ""
        for place, node in rows:
            table.add_row(*[place if place != last else ""] * layered, *self._cells(node, now, over))
            last = place
        return Group(table)

    def _cells(self, node: Node, now: float, over: bool) -> tuple[RenderableType, ...]:
        doing = state(node)
        if over and not node.end:
            doing = "stopped"
        mark = MARKS.get(doing) or _SPINNER[int(now / 0.08) % len(_SPINNER)]
        style = STYLES.get(doing, "yellow")
        seconds = (node.end.time if node.end else now) - node.start.time
        return (
            Tail(node.start.model),
            Text(f"{mark} {doing}", style),
            self._words(node),
            Text(_tokens(node), "dim"),
            Text(f"{seconds:.1f} s", "dim"),
        )

    def _words(self, node: Node) -> RenderableType:
        if node.error:
            reason = node.error.removeprefix(f"{node.start.model}:").strip()
            return Text(_flat(reason), "red", no_wrap=True, overflow="ellipsis")
        if node.start.role == "prewarm":
            return Text(_ahead(node), "dim italic", no_wrap=True, overflow="ellipsis")
        if node.start.answer and node.text:
            return Text("the answer", "dim italic")
        if node.text:
            return Tail(_flat(node.text[-1000:]))
        if node.reasoning:
            return Tail(_flat(node.reasoning[-1000:]), "dim italic")
        retries = node.notes_of(notes.Retry)
        return Text(_flat(retries[-1].error) if retries else "", "yellow", no_wrap=True, overflow="ellipsis")


class Tail:
    """The end of a line that is too long for its column."""

    def __init__(self, text: str, style: str = "") -> None:
        self.text = printable(text)
        self.style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.fitted(options.max_width), self.style, no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, cell_len(self.text)))

    def fitted(self, width: int) -> str:
        """Return the end of the text in this number of cells."""
        if cell_len(self.text) <= width:
            return self.text
        return "…" + set_cell_size(self.text[::-1], max(0, width - 1))[::-1]


def _tokens(node: Node) -> str:
    if node.notes_of(notes.Cached):
        return "cached"
    if node.usage is not None:
        return f"{'~' * node.usage.estimated}{node.usage.output_tokens}"
    return f"~{estimate_tokens(node.text + node.reasoning)}" if node.text or node.reasoning else ""


def _ahead(node: Node) -> str:
    """Describe what a prewarm has done so far."""
    note = next(iter(node.notes_of(notes.Prewarmed)), None)
    if note is None:
        return "skipped: the model was busy" if node.end else "the proposals, while they are written"
    return f"{note.tokens} prompt tokens prefilled, about {note.saved:.1f} s saved"


def _flat(text: str) -> str:
    return printable(" ".join(text.split()))


def _joined(place: str, number: int) -> str:
    return f"{place}.{number}" if place else str(number)
