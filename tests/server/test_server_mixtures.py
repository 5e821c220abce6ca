"""Mixtures as graphs over HTTP, and drafts that are checked and tried without being stored."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from test_server_live_runs import watched
from test_server_stored_runs import bearer

from helpers.server import SAYS, TOML, Served, serving
from moa import Store
from moa.config.draft import of_table, of_toml
from moa.config.load import Config
from moa.server.auth.keyfile import create_key, write_keys

MORE = (
    TOML
    + """
[mixtures.deep]
description = "two layers of them"
layers = 3
temperature = 0.7
proposers = ["up:a", { model = "up:b", samples = 3, system = "Be brief." }]
aggregator = { model = "up:judge", fallback = ["up:a"], prompt = "Weigh them.\\n{references}" }
quorum = 2
timeout = { max = 60 }
[mixtures.nested]
proposers = ["moa:duo", "up:a"]
aggregator = { kind = "vote" }
"""
)

ONE = '[mixtures.x]\nlayers = [["up:a"]]\naggregator = "up:a"\n'


def test_mixtures_are_drawn_with_their_layers_settings_and_calls() -> None:
    with serving(SAYS, MORE) as (served, _):
        result = served.get("/api/mixtures").json
        deep = served.get("/api/mixtures/deep").json
        assert served.get("/api/mixtures/none").status == 404
    assert result["default"] == "moa:duo"
    assert [(one["name"], one["calls"]) for one in result["mixtures"]] == [("duo", 3), ("deep", 9), ("nested", 4)]
    assert deep == result["mixtures"][1]
    assert deep["layers"] == 2 * [
        [
            {"model": "up:a", "samples": 1, "calls": 1, "settings": {}},
            {"model": "up:b", "samples": 3, "calls": 3, "settings": {"system": "Be brief."}},
        ]
    ]
    assert deep["aggregator"] == {
        "kind": "synthesize",
        "model": "up:judge",
        "fallback": ["up:a"],
        "calls": 1,
        "settings": {"prompt": "Weigh them.\n{references}"},
    }
    assert deep["settings"] == {"temperature": 0.7, "quorum": 2, "timeout": {"max": 60}}
    assert (deep["cost"], "the price of up:a" in deep["unknown"]) == (None, True)
    nested = result["mixtures"][2]
    assert nested["layers"][0][0]["calls"] == 3 and nested["aggregator"]["model"] is None


def test_the_toml_of_a_mixture_is_the_mixture() -> None:
    config = Config.model_validate(tomllib.loads(MORE.replace("{url}", "http://127.0.0.1:1/v1")))
    with serving(SAYS, MORE) as (served, _):
        for one in served.get("/api/mixtures").json["mixtures"]:
            assert of_toml(config, one["toml"]).table == config.mixtures[one["name"]]
            assert of_table(config, one["name"], one["table"]).table == config.mixtures[one["name"]]


@pytest.mark.parametrize(
    ("toml", "wrong"),
    [
        ("[mixtures.x", "not valid TOML: "),
        ("", "exactly one table [mixtures.NAME]"),
        ('[mixtures.x]\naggregator = "up:a"\n', "mixtures.x.proposers: required"),
        (
            '[mixtures.x]\nproposers = ["up:a"]\naggregator = "up:a"\nquorom = 1\n',
            "mixtures.x.quorom: unknown setting; did you mean 'quorum'?",
        ),
        ('[mixtures.x]\nproposers = ["nobody:a"]\naggregator = "up:a"\n', "mixtures.x: no provider 'nobody'"),
        ('[mixtures.duo]\nproposers = ["moa:duo"]\naggregator = "up:a"\n', "a mixture cannot contain itself"),
        ('[providers.new]\nbase_url = "http://evil.example/v1"\n', "providers: not allowed in a draft"),
        (
            '[mixtures.x]\nproposers = [{ model = "up:a", samples = 100 }]\nlayers = 5\naggregator = "up:a"\n',
            "got 400",
        ),
        (f"[mixtures.x]\nextra = {{ a = {'[' * 3000}{']' * 3000} }}\n", "not valid TOML"),
        (f"[mixtures.x]\nquorum = {'9' * 5000}\n", "not valid TOML"),
        (f"{ONE}extra.{'a.' * 400}b = 1\n", "mixtures.x.extra: must be valid as JSON"),
        (f"{ONE}extra.top_k = {2**64}\n", "mixtures.x.extra: must be valid as JSON"),
        (f"{ONE}max_tokens = {2**64}\n", "max_tokens"),
        (f'[mixtures.x]\nlayers = [[{{ model = "up:a", seed = {2**64} }}]]\naggregator = "up:a"\n', "seed"),
    ],
)
def test_an_invalid_draft_gets_the_error_of_an_invalid_moa_toml(toml: str, wrong: str) -> None:
    with serving() as (served, upstream):
        result = served.post("/api/mixtures/check", {"toml": toml}).json
        assert (result["valid"], result["mixture"], wrong in result["error"]) == (False, None, True), result
        assert served.post("/api/runs", {"prompt": "Which?", "draft": {"toml": toml}}).status == 400
    assert upstream.calls == []


def tried(served: Served, **draft: Any) -> Any:
    reply = served.post("/api/runs", {"prompt": "Which?", "draft": draft})
    if reply.status == 201:
        watched(served, reply.json["run_id"])
        return served.get(f"/api/runs/{reply.json['run_id']}").json
    return reply.status, reply.json["error"]["param"]


def test_a_draft_is_checked_drawn_and_tried_once() -> None:
    table = {"proposers": ["up:a", {"model": "up:b", "temperature": 0.1}], "aggregator": "up:judge", "quorum": 2}
    with serving(store=Store()) as (served, upstream):
        checked = served.post("/api/mixtures/check", {"name": "mine", "table": table}).json
        assert (checked["valid"], checked["mixture"]["calls"]) == (True, 3)
        run = tried(served, toml=checked["mixture"]["toml"])
        assert upstream.to("b")[0].body["temperature"] == 0.1
        names = [one["name"] for one in served.get("/api/mixtures").json["mixtures"]]
        again = served.post(f"/api/runs/{run['run_id']}/rerun", {})
        assert again.status == 400 and "draft" in again.json["error"]["message"]
    assert (run["model"], run["state"], run["summary"]["answer"]) == ("draft:mine", "answered", "purple it is")
    assert names == ["duo"]


@pytest.mark.parametrize(
    ("table", "status", "param"),
    [
        ({"proposers": ["gguf:/etc/passwd"], "aggregator": "up:a"}, 404, "model"),
        ({"proposers": ["up:a"], "aggregator": "up:a", "prompt_file": "/etc/passwd"}, 400, "prompt_file"),
        ({"proposers": ["up:a"], "aggregator": {"model": "up:a", "prompt_file": "keys.jsonl"}}, 400, "prompt_file"),
    ],
)
def test_a_draft_opens_no_file_of_the_server(table: Any, status: int, param: str) -> None:
    with serving() as (served, upstream):
        assert tried(served, table=table) == (status, param)
    assert upstream.calls == []


def test_a_draft_and_a_model_exclude_each_other() -> None:
    table = {"proposers": ["up:a"], "aggregator": "up:a"}
    with serving() as (served, _):
        body = {"prompt": "Which?", "model": "moa:duo", "draft": {"table": table}}
        assert served.post("/api/runs", body).status == 400
        assert tried(served) == (400, "draft")


def test_a_key_sees_and_tries_only_what_it_may_use() -> None:
    secret, key = create_key("anna", mixtures=["duo"])
    write_keys(Path("keys.jsonl"), [key])
    Path("secret.txt").write_text("A prompt of somebody else's.\n{references}")
    toml = MORE.replace("[mixtures.nested]", '[mixtures.nested]\nprompt_file = "secret.txt"')
    with serving(SAYS, toml + '[server]\nkeys_file = "keys.jsonl"\n') as (served, upstream):
        result = served.get("/api/mixtures", bearer(secret)).json["mixtures"]
        assert [one["name"] for one in result] == ["duo"]
        assert served.get("/api/mixtures/deep", bearer(secret)).status == 403
        draft = {"table": {"proposers": ["up:a"], "aggregator": "up:a"}}
        assert served.post("/api/runs", {"prompt": "Which?", "draft": draft}, bearer(secret)).status == 403
        assert upstream.calls == []
        draft = {"table": {"proposers": ["moa:duo"], "aggregator": "moa:duo", "prompt_file": "secret.txt"}}
        refused = served.post("/api/runs", {"prompt": "Which?", "draft": draft}, bearer(secret))
        assert (refused.status, refused.json["error"]["param"]) == (400, "prompt_file")
        draft = {"table": {"proposers": ["moa:duo"], "aggregator": "moa:duo"}}
        assert served.post("/api/runs", {"prompt": "Which?", "draft": draft}, bearer(secret)).status == 201
