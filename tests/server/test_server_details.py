"""The details of runs over HTTP: messages, provenance, curl commands, export and comparison."""

from __future__ import annotations

import json
import shlex
import threading
from pathlib import Path

import pytest
from test_server_live_runs import started
from test_server_stored_runs import KEYED, answered, bearer

from helpers.server import SAYS, TOML, serving
from helpers.upstream import Body
from moa import Message, Request, Scripted, Store
from moa.config.build import Builder
from moa.config.load import Config
from moa.prompts.escaping import split_references
from moa.server.auth.keyfile import create_key, write_keys
from moa.server.runs.repository import RunRepository
from moa.server.service import RunRequest, Service

PRICED = TOML.replace("attempts = 1", 'attempts = 1\napi_key_env = "UP_KEY"\nrenamed = { max_tokens = "limit" }')


@pytest.fixture(autouse=True)
def key_of_the_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", "a-secret-of-the-provider")


def test_the_messages_are_those_the_upstream_got_with_references_apart() -> None:
    with serving(store=Store()) as (served, upstream):
        run = answered(served)
        calls = served.get(f"/api/runs/{run}/messages").json["calls"]
    assert [(call["model"], call["role"], call["layer"], call["index"]) for call in calls] == [
        ("up:a", "proposer", 1, 0),
        ("up:b", "proposer", 1, 1),
        ("up:judge", "aggregator", None, None),
    ]
    for call in calls:
        (got,) = upstream.to(call["model"].removeprefix("up:"))
        result = [
            {"role": one["role"], "content": "".join(piece["text"] for piece in one["pieces"])}
            for one in call["messages"]
        ]
        assert result == got.messages
    pieces = calls[-1]["messages"][0]["pieces"]
    assert [piece["reference"] for piece in pieces] == [None, 1, None, 2]
    assert pieces[1]["text"].split("\n")[1] == "red" and calls[-1]["answer"] == "purple it is"


@pytest.mark.parametrize(
    "text",
    [
        "no reference",
        '<answer-abcdef number="1">\nred',
        '<answer-abcdef number="1">\nred\n</answer-abcdee>',
        '<answer-abcdef number="x">\nred\n</answer-abcdef>',
    ],
)
def test_what_only_looks_like_a_reference_is_words(text: str) -> None:
    assert list(split_references(text)) == [(None, text)]


def test_a_call_is_taken_away_as_a_line_that_makes_it_again() -> None:
    with serving(SAYS, PRICED, Store()) as (served, upstream):
        run = answered(served, options={"max_tokens": 50})
        calls = served.get(f"/api/runs/{run}/messages").json["calls"]
        whole = served.get(f"/api/runs/{run}/curl").body.decode()
        judge = served.get(f"/api/runs/{run}/curl?span={calls[-1]['span']}").body.decode()
        unknown = served.get(f"/api/runs/{run}/curl?span=none")
        assert (unknown.status, unknown.json["error"]["code"]) == (404, "run_not_found")
        url, body = parsed(whole)
        again = served.post(url.removeprefix(served.url), body).json
        assert (
            url == f"{served.url}/v1/chat/completions" and again["choices"][0]["message"]["content"] == "purple it is"
        )
    sent = upstream.to("judge")[0].body
    url, body = parsed(judge)
    assert url == f"{upstream.url}/chat/completions"
    assert body == {key: value for key, value in sent.items() if key not in ("stream", "stream_options")}
    assert body["limit"] == 50
    assert '"Authorization: Bearer $UP_KEY"' in judge and "a-secret" not in judge


def parsed(line: str) -> tuple[str, Body]:
    words = shlex.split(line)
    return words[1], json.loads(words[words.index("--data-raw") + 1])


def test_a_client_does_not_see_the_address_of_the_upstream() -> None:
    secret, key = create_key("anna")
    write_keys(Path("keys.jsonl"), [key])
    with serving(SAYS, KEYED, Store()) as (served, upstream):
        run = served.post("/api/runs", {"prompt": "Which?"}, bearer(secret)).json["run_id"]
        while served.get(f"/api/runs/{run}", bearer(secret)).json["state"] == "running":
            pass
        calls = served.get(f"/api/runs/{run}/messages", bearer(secret)).json["calls"]
        line = served.get(f"/api/runs/{run}/curl?span={calls[0]['span']}", bearer(secret)).body.decode()
    url, body = parsed(line)
    assert (url, body["model"]) == (f"{served.url}/v1/chat/completions", "up:a")
    assert upstream.url not in line and "$MOA_KEY" in line and secret not in line


def test_all_events_of_a_run_can_be_taken_into_another_store(tmp_path: Path) -> None:
    with serving(store=Store()) as (served, _):
        run = answered(served)
        lines = served.get(f"/api/runs/{run}/export")
    assert lines.headers["content-type"] == "application/jsonl"
    with Store(tmp_path / "other.sqlite") as other:
        assert other.take(lines.body.splitlines()) == (1, 0)
        assert other.events(run) == Store().events(run)


def test_the_answer_is_traced_to_its_proposals() -> None:
    says = {
        "a": "The sky is blue by day.",
        "b": "Grass grows in spring.",
        "judge": "The sky is blue by day. I like it.",
    }
    with serving(says, store=Store()) as (served, _):
        run = answered(served)
        result = served.get(f"/api/runs/{run}/provenance").json
        calls = served.get(f"/api/runs/{run}/messages").json["calls"]
    first, second = result["sentences"]
    assert [proposal["span"] for proposal in result["proposals"]] == [call["span"] for call in calls[:2]]
    assert (first["own"], [source["proposal"] for source in first["sources"]]) == (False, [0])
    assert (second["own"], second["sources"]) == (True, [])


def test_two_runs_are_compared_word_by_word_call_by_call() -> None:
    answers = iter(["It is blue today.", "It is red today."])
    with serving({**SAYS, "judge": lambda body: next(answers)}, store=Store()) as (served, _):
        one, other = answered(served), answered(served)
        result = served.get(f"/api/runs/{one}/diff/{other}").json
        assert served.get(f"/api/runs/{one}/diff/none").status == 404
    assert [run["id"] for run in result["runs"]] == [one, other]
    assert result["words"] == [
        {"change": "same", "text": "It is "},
        {"change": "gone", "text": "blue "},
        {"change": "new", "text": "red "},
        {"change": "same", "text": "today."},
    ]
    assert {"role": "proposer", "model": "up:a", "counts": [1, 1]} in result["calls"]


async def test_what_takes_long_to_find_out_of_a_run_that_goes_on_holds_up_no_other(tmp_path: Path) -> None:
    service = Service(Builder(Config(default="local:smollm2"), tmp_path))
    repository = RunRepository(service)
    run_request = RunRequest(Scripted("slow", "never", delay=60), Request((Message("user", "Which?"),)))
    record = await repository.live.start(run_request)
    where, seen = await repository.work(record.id, lambda seen: (threading.current_thread(), seen))
    assert where is not threading.main_thread()
    assert (seen.run.state, seen.trace.time) == ("running", record.trace.time)
    await repository.live.stop(record)


def test_a_client_cannot_read_the_details_of_the_runs_of_others() -> None:
    first, one = create_key("anna")
    second, two = create_key("bert")
    write_keys(Path("keys.jsonl"), [one, two])
    with serving(SAYS, KEYED, Store()) as (served, _):
        run = served.post("/api/runs", {"prompt": "Which?"}, bearer(first)).json["run_id"]
        own = served.post("/api/runs", {"prompt": "Which?"}, bearer(second)).json["run_id"]
        for path in ("messages", "provenance", "curl", "export", f"diff/{own}"):
            assert served.get(f"/api/runs/{run}/{path}", bearer(second)).status == 404
        assert served.get(f"/api/runs/{own}/diff/{run}", bearer(second)).status == 404


def test_a_run_without_stored_texts_still_has_its_shape() -> None:
    with serving(store=Store(text=False)) as (served, _):
        run = started(served)
        while served.get(f"/api/runs/{run}").json["state"] == "running":
            pass
    with serving(store=Store(text=False)) as (served, _):
        assert served.get(f"/api/runs/{run}/messages").status == 200
        reply = served.get(f"/api/runs/{run}/curl")
        assert reply.status == 400 and run in reply.json["error"]["message"]
