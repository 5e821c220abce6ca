"""Encodes a run as records in the order of its events, and decodes the events exactly as they were.

A record is an event as `to_json` gives it, with its long texts named by hash. The text deltas between two other events
are one record. Once a call has ended with its whole text, its deltas are only lengths in that text.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .. import notes
from ..events import Event, Note, SpanStart, TextDelta, from_record, to_json
from ..trace.tree import Trace
from .texts import UNKEPT, Texts, shape, unfolded

LiveRun = dict[str, Any]

LONG = frozenset({"request", "text", "error", "data"})
"""The fields of an event in which there may be long texts."""


class Recorded:
    """A run on its way into the store. `kept` says whether its content is stored, `owner` is its client."""

    def __init__(self, start: SpanStart, kept: bool, owner: str | None = None) -> None:
        self.start = start
        self.kept = kept
        self.owner = owner
        self.started = start.started_at or time.time()
        self.trace = Trace()
        self.texts = Texts()
        self._records: list[LiveRun] = []
        self._with_first_word: set[str] = set()  # whose first word came
        self.parent: str | None = None
        self._words: list[Any] | None = None  # of the last record, where it is one of words
        self._voices: dict[tuple[str, str, bool], int] = {}

    @property
    def over(self) -> bool:
        """Whether its last event has come."""
        return self.trace.root is not None and self.trace.root.end is not None

    def add(self, event: Event) -> None:
        """Add the next event."""
        if type(event) is TextDelta:
            self._hear(event)
            return
        self._words = None
        self.trace.add(event)
        if isinstance(event, Note) and isinstance(event.data, notes.Rerun):
            self.parent = event.data.of
        elif isinstance(event, Note) and isinstance(event.data, notes.Retry):
            self._with_first_word.discard(event.span)
        self._records.append(self._record(event))

    def pieces(self) -> list[LiveRun]:
        """Return the records that are not written yet, as JSON."""
        return [one | {"voices": list(one["voices"])} if one["type"] == "words" else one for one in self._records]

    def written(self) -> None:
        """Mark these records and texts as written."""
        self._records, self.texts.new, self._words = [], {}, None

    def _record(self, event: Event) -> LiveRun:
        import orjson

        record: LiveRun = orjson.loads(to_json(event))
        if not self.kept:
            return shape(record)  # type: ignore[no-any-return]
        for field in LONG.intersection(record):
            record[field] = self.texts.folded(record[field])
        return record

    def _hear(self, event: TextDelta) -> None:
        event.text.encode()  # what is not Unicode fails here, and not among the runs of others
        if event.span not in self._with_first_word or (event.answer and self.trace.first_word is None):
            self._with_first_word.add(event.span)
            self.trace.add(event)  # all that the figures of a run need of its words
        if self._words is None:
            self._voices, self._words = {}, []
            self._records.append({"type": "words", "voices": self._voices, "said": self._words})
        voice = event.span, event.kind, event.answer
        number = self._voices.get(voice)
        if number is None:
            number = self._voices[voice] = len(self._voices)
        self._words += number, event.time, event.text if self.kept else len(event.text)


def shortened(records: list[LiveRun], texts: Mapping[str, str]) -> list[LiveRun]:
    """Return the records of a run with the text deltas of finished calls replaced by lengths."""
    values: dict[str, list[tuple[list[Any], int]]] = {}
    for record in records:
        if record["type"] == "words":
            lengths = record["said"]
            spans = [span if kind == "text" else None for span, kind, _ in record["voices"]]
            for place in range(2, len(lengths), 3):
                if (span := spans[lengths[place - 2]]) and type(lengths[place]) is str:
                    values.setdefault(span, []).append((lengths, place))
        elif record["type"] == "note" and record["kind"] == notes.Retry.kind:
            values.pop(record["span"], None)
        elif record["type"] == "span_end" and record["span"] in values:
            words = values.pop(record["span"])
            if "".join([lengths[place] for lengths, place in words]) == unfolded(record.get("text"), texts):
                for lengths, place in words:
                    lengths[place] = len(lengths[place])
    return records


def events(records: Iterable[LiveRun], texts: Mapping[str, str]) -> Iterator[Event]:
    """Yield the events of the records."""
    records = list(records)
    version = records[0].get("version", 1) if records else 1
    ended = (record for record in records if record["type"] == "span_end" and _kept(record.get("text")))
    ends = {record["span"]: unfolded(record["text"], texts) for record in ended}
    values: dict[str, int] = {}
    for record in records:
        if record["type"] != "words":
            yield from_record(unfolded(record, texts), version)
            continue
        lengths = record["said"]
        for place in range(0, len(lengths), 3):
            (span, kind, answer), time, text = record["voices"][lengths[place]], lengths[place + 1], lengths[place + 2]
            if isinstance(text, int):
                if kind == "text" and span in ends:
                    begun = values.get(span, 0)
                    values[span] = begun + text
                    text = ends[span][begun : begun + text]
                else:
                    text = UNKEPT * text
            yield TextDelta(span, time, text, kind, answer)


def _kept(text: Any) -> bool:
    return isinstance(text, str) or (isinstance(text, dict) and isinstance(text["#"], str))
