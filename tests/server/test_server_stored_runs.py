"""Stored runs over HTTP: listed, read and deleted, each by its owner."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from test_server_live_runs import started, watched

import moa
from helpers.server import SAYS, TOML, Served, serving
from helpers.upstream import Body, Reply, Upstream
from moa import Message, Request, Scripted, Store
from moa.events import from_json
from moa.server.auth.keyfile import create_key, write_keys
from moa.store.reader import StoredRun

KEYED = TOML + '[server]\nkeys_file = "keys.jsonl"\n'
PANEL = moa.Mixture(
    (moa.Layer((Scripted("lab:a", "red"), Scripted("lab:b", "blue"))),), moa.Synthesize(Scripted("judge", "purple"))
)


def ask_as_owner(store: Store, question: str) -> str:
    """Ask in this process, as the command line does; the run's id."""
    asyncio.run(moa.generate(PANEL, Request((Message("user", question),)), store.emit, "all"))
    return store.runs(limit=1)[0].id


def listed(served: Served, query: str = "", headers: dict[str, str] | None = None) -> list[str]:
    reply = served.get(f"/api/runs?{query}", headers)
    assert reply.status == 200, reply.body
    return [run["id"] for run in reply.json["runs"]]


def answered(served: Served, **body: Any) -> str:
    run = started(served, **body)
    watched(served, run)
    return run


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_runs_are_listed_the_latest_first_and_page_by_page() -> None:
    with serving(store=Store()) as (served, _):
        runs = [answered(served, prompt=f"Question {number}?") for number in range(5)][::-1]
        assert listed(served) == runs
        first = served.get("/api/runs?limit=3").json
        second = served.get(f"/api/runs?limit=3&before={first['before']}").json
        result = first["runs"][0]
    assert [run["id"] for run in first["runs"] + second["runs"]] == runs and second["before"] is None
    assert (result["question"], result["state"], result["calls"], result["lost"], result["model"]) == (
        "Question 4?",
        "answered",
        3,
        0,
        "moa:duo",
    )


@pytest.mark.parametrize("stored", [True, False])
def test_a_list_is_narrowed_by_mixture_state_time_and_words(stored: bool) -> None:
    says = {**SAYS, "a": unless_broken, "b": Reply("no", status=400)}
    with serving(says, store=Store() if stored else None) as (served, _):
        blue = answered(served, prompt="Why is the sky blue?")
        red = answered(served, prompt="Why is the evening sky red?", model="up:a")
        bad = answered(served, prompt="break")
        found = {
            query: listed(served, query)
            for query in ("model=duo", "model=up:a", "search=SKY", "search=sky+red", "state=failed", "since=1h")
        }
    assert found == {
        "model=duo": [bad, blue],
        "model=up:a": [red],
        "search=SKY": [red, blue],
        "search=sky+red": [red],
        "state=failed": [bad],
        "since=1h": [bad, red, blue],
    }


def unless_broken(body: Body) -> Reply:
    return Reply("no", status=400) if "break" in json.dumps(body) else Reply("red")


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("state=odd", "got 'odd'"),
        ("limit=0", "from 1 to 500, got '0'"),
        ("limit=x", "got 'x'"),
        ("since=soon", "'soon' is no time"),
        ("since=0001-01-01", ""),
        ("mixture=duo", "mixture: unknown parameter"),
    ],
)
def test_a_list_that_cannot_be_is_refused(query: str, wrong: str) -> None:
    with serving(store=Store()) as (served, _):
        reply = served.get(f"/api/runs?{query}")
    assert wrong in json.dumps(reply.json).replace("\\u2019", "'")
    assert reply.status == (400 if wrong else reply.status) and reply.status < 500


def test_a_run_of_the_command_line_reads_like_one_of_the_server() -> None:
    store = Store()
    run = ask_as_owner(store, "Which colour?")
    with serving(store=store) as (served, _):
        *result, end = watched(served, run)
        assert watched(served, run, "3") == [*result[3:], end]
        state = served.get(f"/api/runs/{run}").json
    assert [from_json(packet["data"]) for packet in result] == Store().events(run)
    assert end == {"event": "end", "data": '{"state":"answered"}'}
    assert (state["state"], state["question"], state["events"]) == ("answered", "Which colour?", len(result))
    assert state["summary"]["answer"] == "purple"
    assert [call["model"] for call in state["tree"]["calls"][0]["calls"]] == ["lab:a", "lab:b"]


def test_a_run_reads_the_same_from_memory_and_from_the_store() -> None:
    with Upstream(SAYS) as upstream:
        with Served(TOML, upstream, Store()) as served:
            run = answered(served)
            fresh = served.get(f"/api/runs/{run}").json, watched(served, run)
        with Served(TOML, upstream, Store()) as served:
            again = served.get(f"/api/runs/{run}").json, watched(served, run)
    assert again == fresh


def test_the_very_first_run_is_listed_while_it_goes_on() -> None:
    with serving({**SAYS, "b": Reply("blue", delay=60)}, store=Store()) as (served, _):
        run = started(served)
        assert [(one["id"], one["state"]) for one in served.get("/api/runs").json["runs"]] == [(run, "running")]


def test_a_run_that_another_process_is_making_is_followed_to_its_end() -> None:
    go = threading.Event()

    def held(body: Body) -> str:
        go.wait(20)
        return "blue"

    with Upstream({**SAYS, "b": held}) as upstream, Served(TOML, upstream, Store()) as one:
        run = started(one)
        with Served(TOML, upstream, Store()) as other:
            while (seen := other.get(f"/api/runs/{run}")).status != 200:
                pass
            assert seen.json["state"] == "running"
            result: list[Any] = []
            reader = threading.Thread(target=lambda: result.extend(watched(other, run)))
            reader.start()
            go.set()
            reader.join()
        assert result == watched(one, run)


def test_a_run_is_deleted_only_on_request() -> None:
    with serving(store=Store()) as (served, _):
        run, other = answered(served), answered(served)
        assert served.ask("DELETE", f"/api/runs/{run}").json["state"] == "answered"
        assert listed(served) == [other, run]
        assert served.ask("DELETE", f"/api/runs/{run}?forget=maybe").status == 400
        assert served.ask("DELETE", f"/api/runs/{run}?forget=true").json["run_id"] == run
        assert listed(served) == [other]
        for path in (f"/api/runs/{run}", f"/api/runs/{run}/events"):
            assert served.get(path).status == 404
        assert served.ask("DELETE", f"/api/runs/{run}?forget=true").status == 404


def test_a_run_that_goes_on_is_stopped_before_it_is_removed() -> None:
    with serving({**SAYS, "b": Reply("blue", delay=60)}, store=Store()) as (served, upstream):
        run = started(served)
        assert served.ask("DELETE", f"/api/runs/{run}?forget=true").json["state"] == "stopped"
        assert listed(served) == []
    assert upstream.to("judge") == []


def test_a_key_sees_its_own_runs_and_no_others() -> None:
    first, one = create_key("anna")
    second, two = create_key("bert")
    write_keys(Path("keys.jsonl"), [one, two])
    store = Store()
    private = ask_as_owner(store, "What only the owner asked?")
    with serving(SAYS, KEYED, store) as (served, _):
        runs = {}
        for secret in (first, second):
            run = served.post("/api/runs", {"prompt": "Which?"}, bearer(secret)).json["run_id"]
            while served.get(f"/api/runs/{run}", bearer(secret)).json["state"] == "running":
                pass
            body = {"model": "moa:duo", "messages": [{"role": "user", "content": "Which?"}]}
            chat = served.post("/v1/chat/completions", body, bearer(secret)).json["moa"]["run_id"]
            runs[secret] = [chat, run]
        for secret, others in ((first, second), (second, first)):
            assert listed(served, "", bearer(secret)) == runs[secret]
            for run in (*runs[others], private):
                for path in (f"/api/runs/{run}", f"/api/runs/{run}/events"):
                    assert served.get(path, bearer(secret)).status == 404
                assert served.ask("DELETE", f"/api/runs/{run}?forget=true", None, bearer(secret)).status == 404
    with serving(SAYS, TOML, Store()) as (served, _):  # the owner, who may read the file as well
        assert sorted(listed(served)) == sorted([private, *runs[first], *runs[second]])


@pytest.mark.parametrize(
    "open_to",
    [
        'host = "0.0.0.0"\nallow_unauthenticated = true',
        'allowed_hosts = ["moa.example.org"]',
        'allowed_origins = ["*"]',
    ],
)
def test_clients_without_a_key_do_not_see_runs_made_elsewhere(open_to: str) -> None:
    store = Store()
    private = ask_as_owner(store, "What only the owner asked?")
    with serving(SAYS, f"{TOML}[server]\n{open_to}\n", store) as (served, _):
        run = answered(served)
        assert listed(served) == [run]
        assert served.get(f"/api/runs/{private}").status == 404


def test_a_key_of_the_environment_keeps_its_runs_when_another_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    toml = TOML + '[server]\nkeys_env = "CLIENTS"\n'
    monkeypatch.setenv("CLIENTS", "first-secret,second-secret")
    with serving(SAYS, toml, Store()) as (served, _):
        run = served.post("/api/runs", {"prompt": "Which?"}, bearer("first-secret")).json["run_id"]
        while served.get(f"/api/runs/{run}", bearer("first-secret")).json["state"] == "running":
            pass
    monkeypatch.setenv("CLIENTS", "second-secret")
    with serving(SAYS, toml, Store()) as (served, _):
        assert listed(served, "", bearer("second-secret")) == []
    monkeypatch.setenv("CLIENTS", "second-secret,first-secret")
    with serving(SAYS, toml, Store()) as (served, _):
        assert listed(served, "", bearer("first-secret")) == [run]


def test_an_unreadable_store_is_an_error_that_names_no_files(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    path.write_bytes(b"no database at all " * 100)
    with serving(store=Store(path, tell=lambda problem: None)) as (served, _):
        reply = served.get("/api/runs")
    assert reply.status == 500 and "log of moa serve" in reply.json["error"]["message"]
    assert str(tmp_path) not in reply.body.decode()


def test_without_a_store_the_runs_are_those_the_server_remembers() -> None:
    with serving() as (served, _):
        run = answered(served)
        assert listed(served) == [run]
        served.ask("DELETE", f"/api/runs/{run}?forget=true")
        assert listed(served) == []


class Slow(Store):
    """A store on a disk that takes its time."""

    def __init__(self, go: threading.Event) -> None:
        super().__init__()
        self.go = go

    def runs(self, **conditions: Any) -> list[StoredRun]:
        self.go.wait(20)
        return super().runs(**conditions)


def test_a_slow_disk_holds_up_no_answer() -> None:
    go = threading.Event()
    with Store() as store:
        ask_as_owner(store, "Is there anything to be read?")
    with serving(store=Slow(go)) as (served, _):
        result: list[int] = []
        reader = threading.Thread(target=lambda: result.append(served.get("/api/runs").status))
        reader.start()
        run = answered(served)
        assert served.get(f"/api/runs/{run}").json["state"] == "answered" and result == []
        go.set()
        reader.join()
    assert result == [200]
