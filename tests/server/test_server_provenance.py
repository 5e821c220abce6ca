"""Provenance over HTTP: told in the `moa` object of a reply, in every dialect, where it is asked for and only there."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.server import TOML, Answer, serving

SAYS = {
    "a": "Copper turns green in the rain.",
    "b": "Iron rusts.",
    "judge": "Iron rusts. Gold stays as bright as it was.",
}
USER = {"role": "user", "content": "Which metals?"}
CHAT = {"model": "moa:duo", "messages": [USER]}
DIALECTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/completions", {"model": "moa:duo", "prompt": "Which metals?"}),
    ("/v1/responses", {"model": "moa:duo", "input": "Which metals?"}),
    ("/v1/messages", {**CHAT, "max_tokens": 99}),
    ("/api/chat", {**CHAT, "stream": False}),
]


def told(answer: Answer) -> Any:
    return answer.json["moa"].get("provenance")


@pytest.mark.parametrize(("path", "body"), DIALECTS, ids=[path for path, _ in DIALECTS])
def test_a_reply_says_where_its_sentences_come_from_if_it_is_asked(path: str, body: dict[str, Any]) -> None:
    with serving(SAYS) as (served, _):
        asked = told(served.post(path, {**body, "moa": {"provenance": True}}))
        unasked = told(served.post(path, body))
    assert unasked is None
    assert [one["model"] for one in asked["proposals"]] == ["up:a", "up:b"]
    assert [(one["start"], one["end"], one["own"]) for one in asked["sentences"]] == [(0, 11, False), (12, 43, True)]
    (source,) = asked["sentences"][0]["sources"]
    assert source == {
        "proposal": 1,
        "relation": "supports",
        "strength": 1.0,
        "start": 0,
        "end": 11,
        "why": None,
    }


def test_a_stream_says_so_in_its_last_chunk_whatever_it_shows_of_the_proposals() -> None:
    with serving(SAYS) as (served, _):
        for show in ("off", "fields"):
            ask = {**CHAT, "stream": True, "moa": {"provenance": True, "show_proposals": show}}
            *_, last = served.post("/v1/chat/completions", ask).events
            assert [one["own"] for one in last["moa"]["provenance"]["sentences"]] == [False, True]


def test_a_server_says_so_always_where_its_settings_want_it_but_to_whom_declines() -> None:
    with serving(SAYS, TOML + "[server]\nprovenance = true\n") as (served, _):
        assert told(served.post("/v1/chat/completions", CHAT)) is not None
        assert told(served.post("/v1/chat/completions", {**CHAT, "moa": {"provenance": False}})) is None
