"""Every kind of note is a frozen class; its JSON is stable, and a kind that is unknown here is kept."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import moa
from moa import Note, Request, Response, Scripted, Span, Store
from moa.events import from_json, to_json
from moa.notes import KINDS, Cached, Fallback, NoteData, Queued, Retry, UnknownNote, Voted
from moa.sinks import tee

ACME = {"degrees": 21.5, "rooms": [{"name": "engine room"}], "door": None}
NOTES = [
    (Queued(), "queued", {}),
    (Retry(1, 0.5, "a: busy"), "retry", {"attempt": 1, "wait": 0.5, "error": "a: busy"}),
    (Cached(3, 2, None, 1.5), "cached", {"input_tokens": 3, "output_tokens": 2, "cost": None, "seconds": 1.5}),
    (Fallback("late"), "fallback", {"error": "late"}),
    (Fallback("late", model="a"), "fallback", {"error": "late", "model": "a"}),
    (Voted((("42", 2), ("41", 1))), "voted", {"votes": [["42", 2], ["41", 1]]}),
    (UnknownNote("acme.temperature", ACME), "acme.temperature", ACME),
]


@pytest.mark.parametrize(("note", "kind", "data"), NOTES, ids=lambda value: type(value).__name__)
def test_a_note_is_its_kind_and_its_fields_in_json_and_back(note: NoteData, kind: str, data: object) -> None:
    line = to_json(Note("s", 0.5, note))
    assert json.loads(line) == {"type": "note", "span": "s", "time": 0.5, "kind": kind, "data": data}
    assert from_json(line) == Note("s", 0.5, note)


@pytest.mark.parametrize("data", [{}, {"attempt": "first", "wait": 1, "error": "busy"}, {"attempt": 1, "wait": 1}])
def test_a_known_kind_with_other_fields_is_kept_as_it_came(data: dict[str, object]) -> None:
    line = json.dumps({"type": "note", "span": "s", "time": 0.5, "kind": "retry", "data": data})
    note = from_json(line)
    assert isinstance(note, Note) and note.data == UnknownNote("retry", data)
    assert json.loads(to_json(note)) == json.loads(line)


def test_every_kind_is_documented_and_cannot_be_changed() -> None:
    for note in KINDS.values():
        assert note.__doc__ and note.kind in KINDS
    retry = Retry(1, 0.5, "a: busy")
    with pytest.raises(FrozenInstanceError):
        retry.attempt = 2  # type: ignore[misc]
    assert len({retry, Retry(1, 0.5, "a: busy"), Retry(2, 0.5, "a: busy")}) == 2


@pytest.mark.parametrize(
    ("values", "named"),
    [((1,), {}), ((1, 0.5, "busy", 4), {}), ((1, 0.5), {"wait": 1, "error": ""}), ((1, 2), {"why": ""})],
)
def test_a_note_takes_its_fields_and_nothing_else(values: tuple[object, ...], named: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="Retry takes attempt, wait, error"):
        Retry(*values, **named)  # type: ignore[arg-type]


class Temperature(NoteData):
    """A custom kind of note."""

    degrees: float
    kind = "acme.temperature"


class Thermometer(Scripted):
    async def generate(self, request: Request, span: Span) -> Response:
        span.note(Temperature(21.5))
        return await super().generate(request, span)


async def test_a_kind_of_ones_own_is_passed_on_stored_and_exported(tmp_path: Path) -> None:
    request, emitted = Request((moa.Message("user", "Warm?"),)), list[moa.Event]()
    with Store(tmp_path / "runs.sqlite") as store:
        await moa.generate(Thermometer("a", "Yes."), request, tee(emitted.append, store.emit))
        stored = store.events("last")
    assert [event.data for event in emitted if isinstance(event, Note)] == [Temperature(21.5)]
    assert [event.data for event in stored if isinstance(event, Note)] == [
        UnknownNote("acme.temperature", {"degrees": 21.5})
    ]
    assert [to_json(event) for event in stored] == [to_json(event) for event in emitted]
