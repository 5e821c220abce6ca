"""Runs that are files: the fold here and the fold of the page (web/test) tell them alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from golden.remake import moments
from moa.events import from_json, to_json

STREAMS = sorted(Path(__file__).parents[1].joinpath("golden").glob("*.jsonl"))


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.stem)
def test_a_run_that_was_written_down_is_folded_as_it_was(stream: Path) -> None:
    events = [from_json(line) for line in stream.read_bytes().splitlines()]
    assert moments(events) == json.loads(stream.with_suffix(".json").read_text("utf-8"))


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: path.stem)
def test_its_events_are_still_written_as_they_were(stream: Path) -> None:
    lines = stream.read_bytes().splitlines()
    assert [to_json(from_json(line)) for line in lines] == lines
