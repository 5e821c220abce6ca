"""What a question is likely to take is told over HTTP, and the run says how right that was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from test_server_live_runs import started, watched
from test_server_stored_runs import bearer

from helpers.server import SAYS, TOML, serving
from moa import Store
from moa.server.auth.keyfile import create_key, write_keys

ASKED = {"model": "moa:duo", "prompt": "Which colour?"}


def test_a_quote_asks_nobody_and_comes_from_the_runs_that_were() -> None:
    with serving(SAYS, TOML, Store()) as (served, upstream):
        first = served.post("/api/estimate", ASKED)
        assert (first.status, first.json["known"], first.json["calls"], upstream.calls) == (200, False, 3, [])
        watched(served, started(served))
        before = len(upstream.calls)
        told = served.post("/api/estimate", ASKED).json
        assert len(upstream.calls) == before
        assert (told["model"], told["known"], told["runs"], told["calls"]) == ("moa:duo", True, 1, 3)
        run = started(served, estimate=True)
        watched(served, run)
        state: Any = served.get(f"/api/runs/{run}").json
    quoted = state["summary"]["estimate"]
    assert {key: quoted[key] for key in ("calls", "input_tokens", "output_tokens", "runs")} == {
        key: told[key] for key in ("calls", "input_tokens", "output_tokens", "runs")
    }
    used = state["summary"]["usage"]
    assert quoted["output_tokens"] == used["output_tokens"]  # the very same question


def test_a_quote_for_a_model_that_is_not_there_is_refused() -> None:
    with serving(SAYS, TOML, Store()) as (served, _):
        assert served.post("/api/estimate", {"model": "moa:none", "prompt": "?"}).status == 404
        assert served.post("/api/estimate", {"model": "moa:duo"}).status == 400


def test_a_draft_is_quoted_too() -> None:
    table = {"proposers": ["up:a", "up:b"], "aggregator": "up:judge"}
    with serving(SAYS, TOML, Store()) as (served, upstream):
        told = served.post("/api/estimate", {"prompt": "Which?", "draft": {"table": table}})
        assert (told.status, told.json["calls"]) == (200, 3)
    assert upstream.calls == []


def test_a_key_is_quoted_from_its_own_runs() -> None:
    first, one = create_key("anna")
    second, two = create_key("bert")
    write_keys(Path("keys.jsonl"), [one, two])
    with serving(SAYS, TOML + '[server]\nkeys_file = "keys.jsonl"\n', Store()) as (served, _):
        run = served.post("/api/runs", ASKED, bearer(first)).json["run_id"]
        served.get(f"/api/runs/{run}/events", bearer(first))
        assert served.post("/api/estimate", ASKED, bearer(first)).json["runs"] == 1
        assert served.post("/api/estimate", ASKED, bearer(second)).json["runs"] == 0
