"""Prints the types of the events and notes of a run for src/lib/api/events.ts, from the classes in moa.

uv run python web/tools/events_ts.py > web/src/lib/api/events.ts
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from moa import events, notes
from moa.types import Message, Request, Usage

HEAD = """\
// The events of a run and their notes, as src/moa/events.py has them in JSON. Made by tools/events_ts.py, not to be
// edited. Times are in seconds since the run began, costs in US dollars.
"""

ALIASES = {events.Role: "Role", events.TextKind: "TextKind"}

KIND = """
export type NoteKind = keyof NoteData;

// Kinds that are not in `NoteData` are written by other programs.
export interface Note {
  type: "note";
  span: string;
  time: number;
  kind: string;
  data: Readonly<Record<string, unknown>>;
}

export type NoteOf<Kind extends NoteKind> = Note & { kind: Kind; data: NoteData[Kind] };

export type Event = SpanStart | TextDelta | Note | SpanEnd;
"""


def printed() -> str:
    """Return the whole file."""
    aliases = "".join(f"\nexport type {name} = {union(alias)};" for alias, name in ALIASES.items()) + "\n"
    classes = (Usage, Message, Request, events.SpanStart, events.TextDelta, events.SpanEnd)
    interfaces = "".join(f"\nexport interface {one.__name__} {{\n{lines(one)}}}\n" for one in classes)
    kinds = "".join(f"{comment(note)}  {kind}: {shape(note)};\n" for kind, note in notes.KINDS.items())
    data = f"\n// The data of each kind of note.\nexport interface NoteData {{\n{kinds}}}\n"
    return HEAD + aliases + interfaces + data + KIND


def lines(event: type[Any]) -> str:
    """Return the fields of a dataclass. What is `None` by default is left out of the JSON."""
    hints = get_type_hints(event)
    return "".join(
        f"  {field.name}{'?' * (field.default is None)}: {ts(hints[field.name], field.default is not None)};\n"
        for field in sorted(fields(event), key=lambda field: field.name != "type")
    )


def shape(note: type[notes.NoteData]) -> str:
    """Return the data of a kind of note."""
    hints = get_type_hints(note)
    told = [f"{name}{'?' * optional}: {ts(hints[name], not optional)}" for name, optional in note_fields(note)]
    return f"{{ {'; '.join(told)} }}" if told else "Record<string, never>"


def note_fields(note: type[notes.NoteData]) -> Iterator[tuple[str, bool]]:
    """Yield the name of each field, and whether it is left out while it is `None`."""
    for name in note.__match_args__:
        yield name, vars(note).get(name, MISSING) is None


def union(literal: Any) -> str:
    """Return a Literal in TypeScript."""
    return " | ".join(f'"{value}"' for value in get_args(literal))


def comment(note: type[notes.NoteData]) -> str:
    text = inspect.getdoc(note) or ""
    return "".join(f"  // {line}\n" for line in text.splitlines() if line)


def ts(hint: Any, null: bool = True) -> str:
    """Return a type in TypeScript; without `null`, as it is where it is not null."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ALIASES.get(hint) or union(hint)
    if origin in (Union, types.UnionType):
        return " | ".join(ts(one) for one in inner if null or one is not types.NoneType)
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"readonly [{', '.join(ts(one) for one in inner)}]"
    if origin in (tuple, Sequence):
        return f"ReadonlyArray<{ts(inner[0])}>"
    if origin in (Mapping, dict):
        return f"Readonly<Record<string, {ts(inner[1])}>>"
    names = {str: "string", int: "number", float: "number", bool: "boolean", types.NoneType: "null", Any: "unknown"}
    return names.get(hint) or str(hint.__name__)


if __name__ == "__main__":
    sys.stdout.write(printed())
