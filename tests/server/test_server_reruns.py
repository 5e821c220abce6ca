"""Reruns over HTTP: the plan, and the calls that are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_server_live_runs import watched
from test_server_stored_runs import answered, bearer, listed

from helpers.server import SAYS, TOML, Served, serving
from helpers.upstream import Reply
from moa import Store
from moa.server.auth.keyfile import create_key, write_keys

MORE = TOML + '[mixtures.other]\nproposers = ["up:a"]\naggregator = "up:other"\n'
ALL = {**SAYS, "other": "violet"}


def again(served: Served, run: str, **changes: Any) -> str:
    reply = served.post(f"/api/runs/{run}/rerun", changes)
    assert reply.status == 201, reply.body
    watched(served, reply.json["run_id"])
    return str(reply.json["run_id"])


@pytest.mark.parametrize(
    ("changes", "calls"),
    [
        ({}, ["judge"]),
        ({"aggregator": "up:other"}, ["other"]),
        ({"without": "up:a"}, ["judge"]),
        ({"layer": 1}, ["a", "b", "judge"]),
        ({"proposer": "up:b"}, ["b", "judge"]),
        ({"prompt": "Say it in verse. {references}"}, ["judge"]),
    ],
)
def test_a_rerun_makes_the_planned_calls_and_no_others(changes: Any, calls: list[str]) -> None:
    with serving(ALL, MORE, Store()) as (served, upstream):
        run = answered(served)
        before = len(upstream.calls)
        plan = served.post(f"/api/runs/{run}/rerun/plan", changes).json
        assert len(upstream.calls) == before
        new = again(served, run, **changes)
        assert sorted(call.model for call in upstream.calls[before:]) == calls
        state = served.get(f"/api/runs/{new}").json
    assert sorted(call["model"] for call in plan["calls"]) == [f"up:{name}" for name in calls]
    assert (plan["of"], plan["model"]) == (run, "moa:duo")
    assert (state["state"], state["parent"], state["question"]) == ("answered", run, "Which colour?")


def test_a_plan_is_made_whatever_the_longest_answer_may_be() -> None:  # and takes no memory for it
    with serving(ALL, MORE, Store()) as (served, _):
        run = served.post("/api/runs", {"prompt": "Which?", "options": {"max_tokens": 2**31 - 1}}).json["run_id"]
        watched(served, run)
        plan = served.post(f"/api/runs/{run}/rerun/plan", {"layer": 1}).json
    assert [call["usage"]["output_tokens"] for call in plan["calls"]] == [1000, 1000, 2**31 - 1]


def test_a_stored_run_is_made_again_by_a_server_that_did_not_make_it() -> None:
    with serving(ALL, MORE, Store()) as (served, _):
        run = answered(served)
    with serving(ALL, MORE, Store()) as (served, upstream):
        new = again(served, run, aggregator="up:other")
        assert [call.model for call in upstream.calls] == ["other"]
        assert listed(served) == [new, run]


@pytest.mark.parametrize(
    ("changes", "status", "wrong"),
    [
        ({"aggregator": "nobody:x"}, 404, "no provider 'nobody'"),
        ({"aggregator": "gguf:/etc/passwd"}, 404, "a GGUF file is served only"),
        ({"without": "up:z"}, 400, "'up:z' is not a proposer of moa:duo"),
        ({"layer": 9}, 400, "layer: must be at most 2 for moa:duo, got"),
        ({"layer": 0}, 400, "layer: "),
        ({"colour": "red"}, 400, "colour: unknown setting"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(changes: Any, status: int, wrong: str) -> None:
    with serving(ALL, MORE, Store()) as (served, upstream):
        run = answered(served)
        before = len(upstream.calls)
        for path in (f"/api/runs/{run}/rerun/plan", f"/api/runs/{run}/rerun"):
            reply = served.post(path, changes)
            assert (reply.status, wrong in reply.json["error"]["message"]) == (status, True), reply.body
        assert len(upstream.calls) == before


def test_a_run_that_goes_on_and_one_of_a_single_model_cannot_be_made_again() -> None:
    with serving({**ALL, "b": Reply("blue", delay=60)}, MORE, Store()) as (served, _):
        run = served.post("/api/runs", {"prompt": "Which?"}).json["run_id"]
        assert "still running" in served.post(f"/api/runs/{run}/rerun", {}).json["error"]["message"]
        served.ask("DELETE", f"/api/runs/{run}")
        single = answered(served, model="up:a")
        assert "a single model, not a mixture" in served.post(f"/api/runs/{single}/rerun", {}).json["error"]["message"]


def test_a_key_makes_again_only_its_own_runs_with_models_it_may_use() -> None:
    first, one = create_key("anna", mixtures=["duo"])
    second, two = create_key("bert")
    write_keys(Path("keys.jsonl"), [one, two])
    with serving(ALL, MORE + '[server]\nkeys_file = "keys.jsonl"\n', Store()) as (served, upstream):
        run = served.post("/api/runs", {"prompt": "Which?"}, bearer(first)).json["run_id"]
        while served.get(f"/api/runs/{run}", bearer(first)).json["state"] == "running":
            pass
        before = len(upstream.calls)
        assert served.post(f"/api/runs/{run}/rerun", {}, bearer(second)).status == 404
        assert served.post(f"/api/runs/{run}/rerun", {"aggregator": "up:other"}, bearer(first)).status == 403
        assert len(upstream.calls) == before
        assert served.post(f"/api/runs/{run}/rerun", {}, bearer(first)).status == 201
