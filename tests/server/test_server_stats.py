"""Statistics of mixtures and models over HTTP, for each client of its own runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_server_stored_runs import answered, ask_as_owner, bearer

from helpers.server import SAYS, TOML, Served, serving
from helpers.store import damage
from helpers.upstream import Reply
from moa import Store
from moa.server.auth.keyfile import create_key, write_keys

PRICED = TOML.replace("attempts = 1", "attempts = 1\nprice = { input = 1, output = 2 }")


def stats(served: Served, query: str = "", headers: dict[str, str] | None = None) -> Any:
    reply = served.get(f"/api/stats?{query}", headers)
    assert reply.status == 200, reply.body
    return reply.json


def called(figures: list[Any]) -> dict[tuple[str, str], tuple[int, int]]:
    """Calls and losses of each model in its role."""
    return {(one["role"], one["model"]): (one["calls"], one["lost"]) for one in figures}


def test_statistics_cover_runs_and_their_calls() -> None:
    with serving({**SAYS, "b": Reply("no", status=400)}, PRICED, Store()) as (served, _):
        answered(served)
        answered(served)
        result = stats(served)
        spent = sum(run["cost"] for run in served.get("/api/runs").json["runs"])
    assert called(result["whole"]) == {
        ("root", "moa:duo"): (2, 0),
        ("proposer", "up:a"): (2, 0),
        ("proposer", "up:b"): (2, 2),
        ("aggregator", "up:judge"): (2, 0),
    }
    whole = result["whole"][0]
    assert abs(whole["cost"] - spent) < 1e-12 and whole["seconds"]["p50"] > 0 and whole["first_word"]["p50"] > 0
    assert called(result["days"]) == called(result["whole"]) and all(one["day"] for one in result["days"])


def test_statistics_can_be_of_one_mixture_or_since_a_day() -> None:
    with serving(store=Store()) as (served, _):
        answered(served)
        answered(served, model="up:a")
        assert {one["mixture"] for one in stats(served, "mixture=duo")["whole"]} == {"moa:duo"}
        assert stats(served, "since=2999-01-01") == {"whole": [], "days": []}
        assert served.get("/api/stats?since=soon").status == 400


def test_without_a_store_there_are_none() -> None:
    with serving() as (served, _):
        answered(served)
        assert stats(served) == {"whole": [], "days": []}


def test_a_key_gets_the_statistics_of_its_own_runs() -> None:
    first, one = create_key("anna")
    second, two = create_key("bert")
    write_keys(Path("keys.jsonl"), [one, two])
    store = Store()
    ask_as_owner(store, "What only the owner asked?")
    with serving(SAYS, TOML + '[server]\nkeys_file = "keys.jsonl"\n', store) as (served, _):
        run = served.post("/api/runs", {"prompt": "Which?"}, bearer(first)).json["run_id"]
        served.get(f"/api/runs/{run}/events", bearer(first))
        assert called(stats(served, "", bearer(first))["whole"])["root", "moa:duo"] == (1, 0)
        assert stats(served, "", bearer(second)) == {"whole": [], "days": []}


def test_a_damaged_run_is_logged_and_left_out_of_the_statistics(caplog: pytest.LogCaptureFixture) -> None:
    with serving(store=Store()) as (served, _):
        answered(served)
        answered(served)
        damage(Store().path, "UPDATE chunks SET body = '[{' WHERE run = 1")
        assert called(stats(served)["whole"])["root", "moa:duo"] == (2, 0)
    assert "it is left out of the shares" in caplog.text
