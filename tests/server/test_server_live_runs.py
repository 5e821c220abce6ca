"""Runs in the background, which any number of readers watch."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from helpers.server import TOML, Served, serving
from helpers.upstream import Body, Reply, Upstream
from moa import SpanEnd, Trace
from moa.events import from_json

LATE = Reply("blue", delay=60)
THREE = TOML.replace('["up:a", "up:b"]', '["up:a", "up:b", "up:c"]')


def started(served: Served, **body: Any) -> str:
    reply = served.post("/api/runs", {"model": "moa:duo", "prompt": "Which colour?", **body})
    assert reply.status == 201, reply.body
    return str(reply.json["run_id"])


def packets(body: bytes) -> list[dict[str, str]]:
    """The server-sent events of a whole body, with their fields; comments left out."""
    result = [block for block in body.decode().split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in result]


def watched(served: Served, run: str, after: str | None = None) -> list[dict[str, str]]:
    reply = served.get(f"/api/runs/{run}/events", {"Last-Event-ID": after} if after else None)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return packets(reply.body)


@contextmanager
def reading(served: Served, run: str) -> Iterator[Iterator[dict[str, str]]]:
    """The events of a run while it goes on."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", f"/api/runs/{run}/events")
    reply = connection.getresponse()

    def blocks() -> Iterator[dict[str, str]]:
        lines: list[str] = []
        while line := reply.readline().decode():
            if line == "\n" and lines:
                yield dict(one.split(": ", 1) for one in lines)
                lines = []
            elif line != "\n" and not line.startswith(":"):
                lines.append(line.rstrip("\n"))

    try:
        yield blocks()
    finally:
        connection.close()


def test_the_events_of_a_run_are_streamed_from_its_beginning_to_its_end() -> None:
    with serving() as (served, _):
        run = started(served)
        *result, end = watched(served, run)
    events = [from_json(packet["data"]) for packet in result]
    trace = Trace()
    for event in events:
        trace.add(event)
    assert trace.root and (trace.root.start.run, trace.root.text) == (run, "purple it is")
    assert [packet["id"] for packet in result] == [str(number) for number in range(1, len(result) + 1)]
    assert [packet["event"] for packet in result] == [event.type for event in events]
    assert end == {"event": "end", "data": '{"state":"answered"}'}


def test_its_state_and_summary_are_there_when_it_is_over() -> None:
    with serving() as (served, _):
        run = started(served)
        events = watched(served, run)
        state = served.get(f"/api/runs/{run}").json
    assert (state["run_id"], state["model"], state["state"]) == (run, "moa:duo", "answered")
    assert state["events"] == len(events) - 1
    assert state["summary"]["answer"] == "purple it is"
    assert [one["text"] for one in state["summary"]["references"]] == ["red", "blue"]


def test_a_reader_that_reconnects_misses_nothing_and_gets_nothing_twice() -> None:
    with serving() as (served, _):
        run = started(served)
        whole = watched(served, run)
        for number in (1, len(whole) // 2, len(whole) - 2, len(whole) - 1):
            assert watched(served, run, str(number)) == whole[number:]


def test_a_reader_cut_off_in_the_middle_reads_on_where_it_was() -> None:
    go = threading.Event()

    def held(body: Body) -> str:
        go.wait(20)
        return "blue"

    with Upstream({"a": "red", "judge": "purple"}) as quick, Upstream({"b": held}) as slow:
        toml = TOML.replace('"up:b"', '"other:b"') + f'[providers.other]\nbase_url = "{slow.url}"\n'
        with Served(toml, quick) as served:
            run = started(served)
            with reading(served, run) as events:
                first = [next(events) for _ in range(4)]
            go.set()
            rest = watched(served, run, first[-1]["id"])
            assert first + rest == watched(served, run)


def test_several_readers_get_the_same_events() -> None:
    with serving({"a": "red", "b": Reply("blue", delay=0.2), "judge": Reply("purple it is", pace=0.01)}) as (served, _):
        run = started(served)
        result: list[list[dict[str, str]]] = []
        threads = [threading.Thread(target=lambda: result.append(watched(served, run))) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(result) == 5
    assert all(one == result[0] for one in result)


def test_a_run_goes_on_without_a_reader() -> None:
    with serving() as (served, upstream):
        run = started(served)
        with reading(served, run) as events:
            next(events)  # and the reader leaves
        assert watched(served, run)[-1]["data"] == '{"state":"answered"}'
    assert len(upstream.calls) == 3


def test_a_run_that_is_finished_early_answers_with_what_it_has() -> None:
    says = {"a": "red", "b": "green", "c": LATE, "judge": "purple"}
    with serving(says, THREE) as (served, upstream):
        run = started(served)
        with reading(served, run) as events:
            ended = 0
            while ended < 2:
                event = from_json(next(events)["data"])
                ended += isinstance(event, SpanEnd) and event.text is not None
            assert served.post(f"/api/runs/{run}/finish", None).status == 202
        watched(served, run)
        summary = served.get(f"/api/runs/{run}").json["summary"]
    assert (summary["answer"], [one["text"] for one in summary["references"]]) == ("purple", ["red", "green"])
    assert summary["lost"] == [{"model": "up:c", "layer": 1, "error": "cancelled: the run is to finish early"}]
    assert [call.model for call in upstream.calls if call.dropped] == ["c"]


def test_stopped_it_ends_with_every_call_it_has_made() -> None:
    with serving({"a": LATE, "b": LATE, "judge": "purple"}) as (served, upstream):
        run = started(served)
        with reading(served, run) as events:
            next(events)
            state = served.ask("DELETE", f"/api/runs/{run}")
            last = list(events)[-1]
        assert (state.status, state.json["state"]) == (200, "stopped")
        assert last == {"event": "end", "data": '{"state":"stopped"}'}
        assert watched(served, run)[-1] == last
    assert upstream.to("judge") == []
    assert all(call.dropped for call in upstream.calls)


def test_a_run_that_fails_says_why() -> None:
    failing = Reply("no", status=400)
    with serving({"a": failing, "b": failing, "judge": "purple"}) as (served, _):
        run = started(served)
        assert watched(served, run)[-1]["data"] == '{"state":"failed"}'
        state = served.get(f"/api/runs/{run}").json
    assert (state["state"], state["error"]["type"]) == ("failed", "upstream_error")
    assert "0 of 2 proposers answered" in state["error"]["message"]


def test_a_conversation_its_options_and_overrides_are_heeded() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which?"}]
    with serving() as (served, upstream):
        body = {"model": "moa:duo", "messages": messages, "options": {"temperature": 0.3}, "moa": {"layers": 1}}
        run = served.post("/api/runs", body).json["run_id"]
        watched(served, run)
    assert [(call.model, call.body["temperature"]) for call in upstream.calls] == [("judge", 0.3)]
    assert upstream.calls[0].messages == messages


def test_the_default_model_answers_where_none_is_named() -> None:
    with serving() as (served, _):
        run = served.post("/api/runs", {"prompt": "Which?"}).json["run_id"]
        assert served.get(f"/api/runs/{run}").json["model"] == "moa:duo"


def test_a_wrong_question_is_refused_before_it_begins() -> None:
    wrong: list[tuple[Any, int]] = [
        ({}, 400),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, 400),
        ({"prompt": ""}, 400),
        ({"prompt": "a", "model": "moa:none"}, 404),
        ({"prompt": "a", "nonsense": 1}, 400),
        ({"prompt": "a", "options": {"model": "x"}}, 400),
        ({"prompt": "a", "options": {"temperature": "hot"}}, 400),
        ({"prompt": "a", "options": {"temprature": 0.2}}, 400),
        ({"prompt": "a", "options": {"reasoning_effort": "high"}}, 400),
        ({"prompt": "a", "moa": {"quorum": 9}}, 400),
        ({"prompt": "a", "moa": {"show_proposals": "off"}}, 400),
        ({"prompt": "a", "moa": {"provenance": True}}, 400),
        ({"prompt": "a", "moa": {"budget": {"dollars": -1}}}, 400),
        (b"{", 400),
    ]
    with serving() as (served, upstream):
        assert [served.post("/api/runs", body).status for body, _ in wrong] == [status for _, status in wrong]
        unknown = served.get("/api/runs/none")
        assert (unknown.status, unknown.json["error"]["code"]) == (404, "run_not_found")
        assert served.get("/api/runs/none/events").status == 404
        run = started(served)
        assert served.get(f"/api/runs/{run}/events", {"Last-Event-ID": "x"}).status == 400
    assert len(upstream.calls) <= 3


def test_only_so_many_runs_that_are_over_are_kept() -> None:
    with serving() as (served, _):
        runs = [started(served) for _ in range(105)]
        watched(served, runs[-1])
        for run in runs:
            while b'"state":"running"' in served.get(f"/api/runs/{run}").body:
                pass
        last = started(served)
        known = [run for run in runs if served.get(f"/api/runs/{run}").status == 200]
        assert served.get(f"/api/runs/{last}").status == 200
    assert len(known) <= 100 and known[-1] == runs[-1]


def test_events_are_one_json_a_line() -> None:
    with serving({"a": "line\nline\r\nline", "b": "blue\u2028", "judge": "one\n\ntwo"}) as (served, _):
        result = watched(served, started(served))
    for packet in result:
        json.loads(packet["data"])
