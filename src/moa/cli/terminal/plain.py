"""Views without a terminal: only the answer on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys

from ...events import Event, SpanEnd, TextDelta, to_json
from ...span import StreamMode
from ...trace.tree import Trace
from ...types import Response
from .escape import printable
from .footer import remarks, summary


class Plain:
    """The answer as it streams, ending in a newline. With `proposals`, every proposal is printed to standard error."""

    words: StreamMode = "answer"

    def __init__(self, proposals: bool = False) -> None:
        self.trace = Trace()
        self._proposals = proposals
        self._last = ""

    def add(self, event: Event) -> None:
        self.trace.add(event)
        match event:
            case TextDelta(answer=True, kind="text"):
                self._write(event.text)
            case SpanEnd(text=str(text)) if self._proposals:
                start = self.trace.node(event.span).start
                if start.role == "proposer":
                    _print_error(f"## layer {start.layer}: {start.model}\n\n{text.strip()}\n")

    def draw(self) -> None:
        pass

    def close(self, response: Response | None) -> None:
        if response is not None and not self._last:
            self._write(response.text)
        if self._last and not self._last.endswith("\n"):
            self._write("\n")
        if response is not None:
            for line in (*remarks(self.trace, response), summary(self.trace, response)):
                _print_error(line)

    def _write(self, text: str) -> None:
        self._last = text or self._last
        sys.stdout.write(text)
        sys.stdout.flush()


class EventLines:
    """Every event as a line of JSON, as it happens."""

    words: StreamMode = "all"

    def add(self, event: Event) -> None:
        sys.stdout.buffer.write(to_json(event) + b"\n")
        sys.stdout.buffer.flush()

    def draw(self) -> None:
        pass

    def close(self, response: Response | None) -> None:
        pass


class JsonObject:
    """One JSON object at the end."""

    words: StreamMode = "answer"

    def __init__(self) -> None:
        self.trace = Trace()

    def add(self, event: Event) -> None:
        self.trace.add(event)

    def draw(self) -> None:
        pass

    def close(self, response: Response | None) -> None:
        if response is not None:
            text = json.dumps(self.trace.summary(response), ensure_ascii=False, indent=2)
            sys.stdout.buffer.write(text.encode() + b"\n")
            sys.stdout.buffer.flush()


def _print_error(line: str) -> None:
    print(printable(line), file=sys.stderr)  # noqa: T201
