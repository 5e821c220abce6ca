"""Estimates over HTTP, and their accuracy in the runs that note them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from test_server_live_runs import started, watched
from test_server_stored_runs import bearer

from helpers.server import SAYS, TOML, serving
from moa import Store
from moa.server.auth.keyfile import create_key, write_keys

ASKED = {"model": "moa:duo", "prompt": "Which colour?"}


def test_an_estimate_calls_no_model_and_comes_from_stored_runs() -> None:
    with serving(SAYS, TOML, Store()) as (served, upstream):
        first = served.post("/api/estimate", ASKED)
        assert (first.status, first.json["known"], first.json["calls"], upstream.calls) == (200, False, 3, [])
        watched(served, started(served))
        before = len(upstream.calls)
        result = served.post("/api/estimate", ASKED).json
        assert len(upstream.calls) == before
        assert (result["model"], result["known"], result["runs"], result["calls"]) == ("moa:duo", True, 1, 3)
        run = started(served, estimate=True)
        watched(served, run)
        state: Any = served.get(f"/api/runs/{run}").json
    quoted = state["summary"]["estimate"]
    assert {key: quoted[key] for key in ("calls", "input_tokens", "output_tokens", "runs")} == {
        key: result[key] for key in ("calls", "input_tokens", "output_tokens", "runs")
    }
    used = state["summary"]["usage"]
    assert quoted["output_tokens"] == used["output_tokens"]  # the very same question


def test_an_estimate_of_an_unknown_model_is_rejected() -> None:
    with serving(SAYS, TOML, Store()) as (served, _):
        assert served.post("/api/estimate", {"model": "moa:none", "prompt": "?"}).status == 404
        assert served.post("/api/estimate", {"model": "moa:duo"}).status == 400


def test_a_draft_has_an_estimate_too() -> None:
    table = {"proposers": ["up:a", "up:b"], "aggregator": "up:judge"}
    with serving(SAYS, TOML, Store()) as (served, upstream):
        result = served.post("/api/estimate", {"prompt": "Which?", "draft": {"table": table}})
        assert (result.status, result.json["calls"]) == (200, 3)
    assert upstream.calls == []


def test_the_estimate_of_a_key_comes_from_its_own_runs() -> None:
    first, one = create_key("anna")
    second, two = create_key("bert")
    write_keys(Path("keys.jsonl"), [one, two])
    with serving(SAYS, TOML + '[server]\nkeys_file = "keys.jsonl"\n', Store()) as (served, _):
        run = served.post("/api/runs", ASKED, bearer(first)).json["run_id"]
        served.get(f"/api/runs/{run}/events", bearer(first))
        assert served.post("/api/estimate", ASKED, bearer(first)).json["runs"] == 1
        assert served.post("/api/estimate", ASKED, bearer(second)).json["runs"] == 0
