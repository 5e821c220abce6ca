"""What mixtures and models took, cost and lost is told over HTTP, to each client of its own runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_server_stored_runs import answered, asked, bearer

from helpers.server import SAYS, TOML, Served, serving
from helpers.store import damage
from helpers.upstream import Reply
from moa import Store
from moa.server.auth.keyfile import create_key, write_keys

PRICED = TOML.replace("attempts = 1", "attempts = 1\nprice = { input = 1, output = 2 }")


def numbers(served: Served, query: str = "", headers: dict[str, str] | None = None) -> Any:
    reply = served.get(f"/api/stats?{query}", headers)
    assert reply.status == 200, reply.body
    return reply.json


def called(figures: list[Any]) -> dict[tuple[str, str], tuple[int, int]]:
    """Calls and losses of each model in its role."""
    return {(one["role"], one["model"]): (one["calls"], one["lost"]) for one in figures}


def test_the_numbers_of_runs_and_of_their_calls_are_told() -> None:
    with serving({**SAYS, "b": Reply("no", status=400)}, PRICED, Store()) as (served, _):
        answered(served)
        answered(served)
        told = numbers(served)
        spent = sum(run["cost"] for run in served.get("/api/runs").json["runs"])
    assert called(told["whole"]) == {
        ("root", "moa:duo"): (2, 0),
        ("proposer", "up:a"): (2, 0),
        ("proposer", "up:b"): (2, 2),
        ("aggregator", "up:judge"): (2, 0),
    }
    whole = told["whole"][0]
    assert abs(whole["cost"] - spent) < 1e-12 and whole["seconds"]["p50"] > 0 and whole["first_word"]["p50"] > 0
    assert called(told["days"]) == called(told["whole"]) and all(one["day"] for one in told["days"])


def test_numbers_are_those_of_one_mixture_or_since_a_day() -> None:
    with serving(store=Store()) as (served, _):
        answered(served)
        answered(served, model="up:a")
        assert {one["mixture"] for one in numbers(served, "mixture=duo")["whole"]} == {"moa:duo"}
        assert numbers(served, "since=2999-01-01") == {"whole": [], "days": []}
        assert served.get("/api/stats?since=soon").status == 400


def test_without_a_store_there_are_none() -> None:
    with serving() as (served, _):
        answered(served)
        assert numbers(served) == {"whole": [], "days": []}


def test_a_key_is_told_the_numbers_of_its_own_runs() -> None:
    first, one = create_key("anna")
    second, two = create_key("bert")
    write_keys(Path("keys.jsonl"), [one, two])
    store = Store()
    asked(store, "What only the owner asked?")
    with serving(SAYS, TOML + '[server]\nkeys_file = "keys.jsonl"\n', store) as (served, _):
        run = served.post("/api/runs", {"prompt": "Which?"}, bearer(first)).json["run_id"]
        served.get(f"/api/runs/{run}/events", bearer(first))
        assert called(numbers(served, "", bearer(first))["whole"])["root", "moa:duo"] == (1, 0)
        assert numbers(served, "", bearer(second)) == {"whole": [], "days": []}


def test_a_damaged_run_is_said_in_the_log_and_the_numbers_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with serving(store=Store()) as (served, _):
        answered(served)
        answered(served)
        damage(Store().path, "UPDATE chunks SET body = '[{' WHERE run = 1")
        assert called(numbers(served)["whole"])["root", "moa:duo"] == (2, 0)
    assert "it is left out of the shares" in caplog.text
