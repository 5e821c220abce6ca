"""`moa runs show --provenance`: the answer sentence by sentence, with the proposals that say it or say otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command import configured, on_a_terminal
from helpers.command import moa as command
from helpers.upstream import Upstream

SAYS = {
    "a": "The bridge opened in 1932. Boats pass\x1b[2J beneath it.",
    "b": "The bridge opened in 1934. Copper turns green.",
    "big": "The bridge opened in 1932. Bring a coat, as it is windy up there.",
    "judge": "1: +1 -2\n2: +2",
}


@pytest.fixture(autouse=True)
def ask_once() -> Iterator[None]:
    with Upstream(SAYS) as upstream:
        configured(upstream)
        assert command("ask", "When?").returncode == 0
        yield


def test_each_sentence_is_shown_with_what_supports_and_what_contradicts_it() -> None:
    output = command("runs", "show", "--provenance").stdout
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "1 41% lab:a" in lines
    assert "59% the aggregator's own" in lines
    assert "1 100% The bridge opened in 1932." in lines
    assert "≠ 2: 1934 where the answer says 1932" in lines
    assert "own Bring a coat, as it is windy up there." in lines


def test_a_terminal_shows_the_same() -> None:
    code, written = on_a_terminal("runs", "show", "--provenance")
    assert code == 0
    assert "≠ 2: 1934 where the answer says 1932" in written
    assert "\x1b[2J" not in written


def test_as_json_it_stands_beside_the_rest_of_the_run() -> None:
    plain = json.loads(command("runs", "show", "--json").stdout)
    whole = json.loads(command("runs", "show", "--json", "--provenance").stdout)
    found = whole.pop("provenance")
    assert whole == plain
    (source, other) = found["sentences"][0]["sources"]
    proposal = whole["references"][source["proposal"]]["text"]
    assert proposal[source["start"] : source["end"]] == "The bridge opened in 1932."
    assert other["relation"] == "contradicts"


def test_a_run_without_its_words_has_no_provenance() -> None:
    with Path("moa.toml").open("a", encoding="utf-8") as settings:
        settings.write("\n[store]\nstore_content = false\n")
    command("ask", "When?")
    done = command("runs", "show", "--provenance")
    assert (done.returncode, done.stdout) == (2, "")
    assert "without content" in done.stderr


def test_a_judge_is_a_run_of_its_own() -> None:
    found = json.loads(command("runs", "show", "--judge", "lab:judge", "--json").stdout)["provenance"]
    assert [[one["relation"] for one in sentence["sources"]] for sentence in found["sentences"]] == [
        ["supports", "contradicts"],
        ["supports"],
    ]
    latest = json.loads(command("runs", "--json").stdout)[0]
    assert (latest["model"], latest["calls"], latest["cost"] > 0) == ("provenance by lab:judge", 1, True)
