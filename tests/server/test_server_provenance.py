"""Provenance over HTTP: in the `moa` object of a reply of every protocol, on request only."""

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


def provenance_of(answer: Answer) -> Any:
    return answer.json["moa"].get("provenance")


@pytest.mark.parametrize(("path", "body"), DIALECTS, ids=[path for path, _ in DIALECTS])
def test_a_reply_has_its_provenance_on_request(path: str, body: dict[str, Any]) -> None:
    with serving(SAYS) as (served, _):
        provenance = provenance_of(served.post(path, {**body, "moa": {"provenance": True}}))
        default = provenance_of(served.post(path, body))
    assert default is None
    assert [one["model"] for one in provenance["proposals"]] == ["up:a", "up:b"]
    assert [(one["start"], one["end"], one["own"]) for one in provenance["sentences"]] == [
        (0, 11, False),
        (12, 43, True),
    ]
    (source,) = provenance["sentences"][0]["sources"]
    assert source == {
        "proposal": 1,
        "relation": "supports",
        "strength": 1.0,
        "start": 0,
        "end": 11,
        "why": None,
    }


def test_a_stream_has_it_in_its_last_chunk_however_proposals_are_shown() -> None:
    with serving(SAYS) as (served, _):
        for show in ("off", "fields"):
            ask = {**CHAT, "stream": True, "moa": {"provenance": True, "show_proposals": show}}
            *_, last = served.post("/v1/chat/completions", ask).events
            assert [one["own"] for one in last["moa"]["provenance"]["sentences"]] == [False, True]


def test_a_server_may_always_send_it_except_to_clients_that_decline() -> None:
    with serving(SAYS, TOML + "[server]\nprovenance = true\n") as (served, _):
        assert provenance_of(served.post("/v1/chat/completions", CHAT)) is not None
        assert provenance_of(served.post("/v1/chat/completions", {**CHAT, "moa": {"provenance": False}})) is None
