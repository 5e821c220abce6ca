"""Prints docs/events.md, the reference of events and notes, from the classes in moa.

uv run python docs/events.py > docs/events.md
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import MISSING, Field, fields
from typing import Any

from moa import events, notes

HEAD = f"""\
# Events

Each run is a stream of events. `moa.generate(model, request, emit)` passes them to `emit`; `moa.stream` yields
them. `moa ask --jsonl` and `moa runs export` print them as JSON lines, and the server sends them at
`GET /api/runs/{{id}}/events`. Every call is a span: it starts, streams text, may be noted, and ends. Spans form a tree
by their `parent`; `moa.Trace` folds the events into it.

The first event of a run has the `version` of the format, now {events.VERSION}. Runs that were stored or exported in an
earlier version can be read; names that have changed since are translated.

A field that is `null` is omitted, except in the `data` of notes. (This page is generated from `src/moa/events.py` and
`src/moa/notes.py` by `docs/events.py`.)
"""

NOTES = """\
## Notes

The `data` of a note depends on its `kind`. Each kind is a class in `moa.notes`; `Note.data` is an instance of it.
Fields with a `?` are omitted if they are `null`.

A model of your own may emit notes of other kinds: declare a subclass of `moa.notes.NoteData` with a `kind`, such as
`"acme.temperature"`, and call `span.note(...)`. When such a note is read back from JSON, it is an `UnknownNote`. It is
stored, exported and shown like the others.

| kind | class | data | meaning |
|---|---|---|---|
"""


def printed() -> str:
    """Return the whole page."""
    sections = [section(event) for event in (events.SpanStart, events.TextDelta, events.Note, events.SpanEnd)]
    rows = [f"| `{kind}` | `{note.__name__}` | {data(note)} | {text(note)} |\n" for kind, note in notes.KINDS.items()]
    return "\n".join((HEAD, *sections, NOTES + "".join(rows)))


def section(event: type[Any]) -> str:
    """Return the fields of an event, and what they mean."""
    kind = next(field.default for field in fields(event) if field.name == "type")
    rows = "".join(f"| `{field.name}` | {type_of(field)} |\n" for field in fields(event) if field.name != "type")
    return f"## `{kind}`\n\n`moa.{event.__name__}`. {text(event)}\n\n| field | type |\n|---|---|\n{rows}"


def type_of(field: Field[Any]) -> str:
    """Return the type of a field as a reader of JSON sees it."""
    named = {"Role": events.Role, "TextKind": events.TextKind}
    if field.type in named:
        return " or ".join(f"`{value!r}`".replace("'", '"') for value in named[str(field.type)].__args__)
    if field.name == "data":
        return "see [notes](#notes); `kind` beside it is the kind of note"
    omitted = ", or omitted" if field.default is None else ""
    return plain(str(field.type).removesuffix(" | None")) + omitted


def data(note: type[notes.NoteData]) -> str:
    """Return the fields of a kind of note in one line."""
    optional = {name for name in note.__match_args__ if vars(note).get(name, MISSING) is None}
    hints = note.__annotations__
    types = {name: hints[name].removesuffix(" | None") if name in optional else hints[name] for name in hints}
    return ", ".join(f"`{name}{'?' * (name in optional)}`: {plain(hint)}" for name, hint in types.items())


def plain(annotation: str) -> str:
    """Return a Python annotation as a JSON type."""
    names = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "None": "null", "Any": "any"}
    lists = re.sub(r"tuple\[(.*), \.\.\.\]", r"list of \1", annotation)
    pairs = re.sub(r"tuple\[(.*)\]", r"[\1]", lists).replace("dict[str, Any]", "objects")
    return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), pairs).replace(" | ", " or ")


def text(documented: type[Any]) -> str:
    """Return the docstring of a class in one line."""
    return " ".join((inspect.getdoc(documented) or "").split())


if __name__ == "__main__":
    sys.stdout.write(printed())
