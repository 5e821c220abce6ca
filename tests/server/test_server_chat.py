"""OpenAI's chat completions on the wire."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from helpers.command import until
from helpers.server import SAYS, TOML, Answer, serving
from helpers.upstream import Held, Reply, chunk, event

USER = {"role": "user", "content": "Which colour?"}
ASK = {"model": "moa:duo", "messages": [USER]}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}
CALLS = Reply(message={"role": "assistant", "content": None, "tool_calls": [CALL]}, finish_reason="tool_calls")
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
AS_NUMBER = {"type": "json_schema", "json_schema": {"name": "number", "schema": NUMBER}}


def content(answer: Answer) -> str:
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in answer.events if c["choices"])


def reasoning(answer: Answer) -> str:
    return "".join(c["choices"][0]["delta"].get("reasoning") or "" for c in answer.events if c["choices"])


def test_a_mixture_answers_as_a_model() -> None:
    with serving() as (served, _):
        answer = served.post("/v1/chat/completions", ASK)
    assert answer.status == 200
    whole = answer.json
    assert whole.pop("id").startswith("chatcmpl-")
    assert whole.pop("created") <= time.time()
    result = whole.pop("moa")
    assert whole == {
        "object": "chat.completion",
        "model": "moa:duo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "purple it is", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": whole["usage"],
    }
    assert [(member["model"], member["role"], member["error"]) for member in result["members"]] == [
        ("up:a", "proposer", None),
        ("up:b", "proposer", None),
        ("up:judge", "aggregator", None),
    ]


def test_usage_sums_all_calls_and_counts_what_proposers_wrote_as_reasoning() -> None:
    with serving() as (served, upstream):
        usage = served.post("/v1/chat/completions", ASK).json["usage"]
    asked = sum(len(str(message["content"]).split()) for call in upstream.calls for message in call.messages)
    assert usage == {
        "prompt_tokens": asked,
        "completion_tokens": 5,
        "total_tokens": asked + 5,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def test_a_stream_shows_the_proposals_as_reasoning_under_both_names_and_then_the_answer() -> None:
    with serving({**SAYS, "b": Reply("blue", delay=0.1)}) as (served, _):
        answer = served.post("/v1/chat/completions", {**ASK, "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.body.endswith(b"data: [DONE]\n\n")
    deltas = [one["choices"][0]["delta"] for one in answer.events]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert deltas[-1] == {}
    assert all(delta.get("reasoning") == delta.get("reasoning_content") for delta in deltas)
    assert reasoning(answer) == "[up:a]\nred\n\n[up:b]\nblue\n\n"
    assert content(answer) == "purple it is"
    assert [one["choices"][0]["finish_reason"] for one in answer.events] == [None] * (len(deltas) - 1) + ["stop"]


@pytest.mark.parametrize(
    ("show", "words"),
    [
        ("think", "<think>\n[up:a]\nred\n\n\n</think>\n\npurple it is"),
        ("details", "<details>\n<summary>Proposals</summary>\n\n[up:a]\nred\n\n\n</details>\n\npurple it is"),
        ("off", "purple it is"),
    ],
)
def test_proposals_stand_in_the_content_or_are_not_shown_as_the_caller_wishes(show: str, words: str) -> None:
    toml = TOML.replace('["up:a", "up:b"]', '["up:a"]')
    with serving(toml=toml) as (served, _):
        streamed = served.post("/v1/chat/completions", {**ASK, "stream": True, "moa": {"show_proposals": show}})
        whole = served.post("/v1/chat/completions", {**ASK, "moa": {"show_proposals": show}}).json
    assert content(streamed) == words
    assert reasoning(streamed) == ""
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": words, "refusal": None}


def test_usage_comes_in_a_last_chunk_without_choices_on_request() -> None:
    with serving() as (served, _):
        asked = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
        chunks = served.post("/v1/chat/completions", asked).events
        whole = served.post("/v1/chat/completions", ASK).json
        without = served.post("/v1/chat/completions", {**ASK, "stream": True}).events
    assert [one["usage"] for one in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert not any("usage" in one for one in without)


def test_options_belong_to_the_aggregator_and_the_seed_to_all() -> None:
    options = {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_completion_tokens": 7,
        "stop": "END",
        "frequency_penalty": 0.5,
        "top_k": 3,
    }
    with serving() as (served, upstream):
        served.post("/v1/chat/completions", {**ASK, **options, "seed": 5})
    proposer, judge = upstream.to("a")[0].body, upstream.to("judge")[0].body
    assert {key: value for key, value in proposer.items() if key != "messages"} == {"model": "a", "seed": 5}
    assert {key: value for key, value in judge.items() if key != "messages"} == {
        "model": "judge",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["END"],
        "seed": 5,
        "frequency_penalty": 0.5,
        "top_k": 3,
    }


def test_fields_that_have_no_effect_are_accepted_and_named() -> None:
    with serving() as (served, _):
        answer = served.post("/v1/chat/completions", {**ASK, "user": "me", "service_tier": "auto", "audio": None})
    assert answer.json["moa"]["unused"] == ["service_tier", "user"]


@pytest.mark.parametrize("stream", [False, True])
def test_tools_go_to_the_aggregator_and_its_calls_come_back(stream: bool) -> None:
    called = [
        event(chunk({"role": "assistant", "tool_calls": [{"index": 0, **CALL}]})),
        event(chunk({}, "tool_calls")),
        b"data: [DONE]\n\n",
    ]
    judge = Reply(stream=called) if stream else CALLS
    with serving({**SAYS, "judge": judge}) as (served, upstream):
        answer = served.post("/v1/chat/completions", {**ASK, "tools": [TOOL], "tool_choice": "auto", "stream": stream})
    assert "tools" not in upstream.to("a")[0].body
    assert upstream.to("judge")[0].body["tools"] == [TOOL]
    assert upstream.to("judge")[0].body["tool_choice"] == "auto"
    if stream:
        deltas = [one["choices"][0] for one in answer.events]
        assert deltas[-2]["delta"] == {"tool_calls": [{"index": 0, **CALL}]}
        assert deltas[-1]["finish_reason"] == "tool_calls"
    else:
        choice = answer.json["choices"][0]
        assert choice["message"] == {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]}
        assert choice["finish_reason"] == "tool_calls"


def test_what_a_tool_gave_back_goes_to_the_aggregator_alone() -> None:
    turns = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "grey", "tool_call_id": "c1"},
    ]
    with serving() as (served, upstream):
        answer = served.post("/v1/chat/completions", {**ASK, "messages": turns, "tools": [TOOL]})
    assert answer.json["choices"][0]["message"]["content"] == "purple it is"
    assert [(call.model, call.messages) for call in upstream.calls] == [("judge", turns)]


def test_a_tool_call_without_an_id_gets_one() -> None:
    nameless = {key: value for key, value in CALL.items() if key != "id"}
    message = {"role": "assistant", "content": None, "tool_calls": [nameless]}
    with serving({**SAYS, "judge": Reply(message=message)}) as (served, _):
        answer = served.post("/v1/chat/completions", {**ASK, "tools": [TOOL]})
    assert answer.json["choices"][0]["message"]["tool_calls"][0]["id"].startswith("call_")


def test_images_go_to_vision_models_and_the_others_get_a_note() -> None:
    toml = TOML + "[providers.up.models]\na = { vision = true }\n"
    text = {"type": "text", "text": "What is it?"}
    with serving(toml=toml) as (served, upstream):
        served.post("/v1/chat/completions", {**ASK, "messages": [{"role": "user", "content": [text, PNG]}]})
    result = "What is it?\n[Here the user gave an image that you cannot see.]\n"
    assert upstream.to("a")[0].messages[-1]["content"] == [text, PNG]
    assert upstream.to("b")[0].messages[-1]["content"] == result
    assert upstream.to("judge")[0].messages[-1]["content"] == result


def test_an_answer_in_the_wrong_format_is_requested_once_more() -> None:
    answers = iter(["seven", '{"n": 7}'])
    with serving({**SAYS, "judge": lambda _: next(answers)}) as (served, upstream):
        answer = served.post("/v1/chat/completions", {**ASK, "response_format": AS_NUMBER})
    assert answer.json["choices"][0]["message"]["content"] == '{"n": 7}'
    assert len(upstream.to("judge")) == 2


def test_an_answer_in_the_wrong_form_twice_is_a_clear_error() -> None:
    with serving() as (served, _):
        answer = served.post("/v1/chat/completions", {**ASK, "response_format": AS_NUMBER})
        streamed = served.post("/v1/chat/completions", {**ASK, "response_format": AS_NUMBER, "stream": True})
    assert answer.status == 502
    assert "does not match the response format, even after a retry" in answer.json["error"]["message"]
    assert answer.json["error"]["message"] in streamed.body.decode()
    assert content(Answer(200, {}, streamed.body.split(b'data: {"error"')[0])) == ""


def test_log_probabilities_of_the_aggregator_come_back() -> None:
    result = {"content": [{"token": "purple", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
    words = [
        event(
            {
                **chunk({"content": "purple"}),
                "choices": [{"index": 0, "delta": {"content": "purple"}, "logprobs": result}],
            }
        )
    ]
    says = {**SAYS, "judge": Reply(stream=[*words, event(chunk({}, "stop")), b"data: [DONE]\n\n"])}
    with serving(says) as (served, upstream):
        answer = served.post("/v1/chat/completions", {**ASK, "logprobs": True, "top_logprobs": 2, "stream": True})
    assert upstream.to("judge")[0].body["top_logprobs"] == 2
    assert "logprobs" not in upstream.to("a")[0].body
    assert answer.events[-1]["choices"][0]["logprobs"] == result
    assert answer.events[-1]["moa"]["unused"] == []


def test_missing_log_probabilities_are_listed_as_unused() -> None:
    with serving() as (served, _):
        answer = served.post("/v1/chat/completions", {**ASK, "logprobs": True})
    assert answer.json["choices"][0]["logprobs"] is None
    assert answer.json["moa"]["unused"] == ["logprobs"]


EFFORT = (
    TOML + 'effort = { low = "small", high = "up:c" }\n[mixtures.small]\nproposers = ["up:b"]\naggregator = "up:a"\n'
)


@pytest.mark.parametrize(
    ("effort", "asked", "unused"),
    [
        ("low", ["b", "a"], []),
        ("high", ["c"], []),
        ("medium", ["a", "b", "judge"], ["reasoning_effort"]),
    ],
)
def test_reasoning_effort_chooses_the_size_that_the_mixture_says(
    effort: str, asked: list[str], unused: list[str]
) -> None:
    with serving({**SAYS, "c": "big"}, EFFORT) as (served, upstream):
        answer = served.post("/v1/chat/completions", {**ASK, "reasoning_effort": effort})
    assert answer.status == 200
    assert [call.model for call in sorted(upstream.calls, key=lambda call: call.started)] == asked
    assert answer.json["moa"]["unused"] == unused
    assert not any("reasoning_effort" in call.body for call in upstream.calls)


def test_a_single_model_receives_the_reasoning_effort() -> None:
    with serving() as (served, upstream):
        served.post("/v1/chat/completions", {**ASK, "model": "up:a", "reasoning_effort": "low"})
    assert upstream.calls[0].body["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    "turns", [["### Task:\nGenerate a title."], ["Generate a title for this conversation:\n", "Which colour?"]]
)
def test_a_clients_housekeeping_goes_to_the_aggregator_alone(turns: list[str]) -> None:
    messages = [{"role": "user", "content": turn} for turn in turns]
    with serving() as (served, upstream):
        answer = served.post("/v1/chat/completions", {**ASK, "messages": messages})
    assert answer.json["choices"][0]["message"]["content"] == "purple it is"
    assert [call.model for call in upstream.calls] == ["judge"]


def test_a_request_may_change_the_quorum_and_the_timeout_of_its_mixture() -> None:
    with serving({**SAYS, "b": Reply("blue", delay=30)}) as (served, _):
        lost = served.post("/v1/chat/completions", {**ASK, "moa": {"timeout": 0.2}})
        few = served.post("/v1/chat/completions", {**ASK, "moa": {"timeout": 0.2, "quorum": 2}})
    assert lost.json["moa"]["lost"] == [{"model": "up:b", "layer": 1, "error": "no answer within 0.2 s"}]
    assert (few.status, few.json["error"]["code"]) == (502, "too_few_proposals")


def test_one_layer_is_the_aggregator_alone() -> None:
    with serving() as (served, upstream):
        served.post("/v1/chat/completions", {**ASK, "moa": {"layers": 1}})
    assert [call.model for call in upstream.calls] == ["judge"]


@pytest.mark.parametrize(
    ("body", "words", "param"),
    [
        ({}, "model: Field required", "model"),
        ({**ASK, "messages": []}, "messages: List should have at least 1 item", "messages"),
        ({**ASK, "messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role", "messages.0.role"),
        ({**ASK, "messages": [{"role": "user", "content": " "}]}, "the prompt is empty", None),
        ({**ASK, "temperature": 3}, "temperature: Input should be less than or equal to 2", "temperature"),
        ({**ASK, "n": 2}, "got 2", "n"),
        ({**ASK, "functions": []}, "use tools", "functions"),
        ({**ASK, "top_logprobs": 2}, "logprobs", "top_logprobs"),
        ({**ASK, "reasoning_effort": "most"}, "reasoning_effort: Input should be", "reasoning_effort"),
        ({**ASK, "response_format": {"type": "xml"}}, "is not one of", None),
        ({**ASK, "response_format": {"type": "json_schema", "json_schema": {}}}, "needs json_schema.schema", None),
        ({**ASK, "moa": {"quorums": 2}}, "moa.quorums: unknown setting; did you mean 'quorum'?", "moa.quorums"),
        ({**ASK, "moa": {"deadline": 9}}, "moa.deadline: renamed to 'timeout'", "moa.deadline"),
        ({**ASK, "moa": {"quorum": 3}}, "got 3", "moa.quorum"),
        ({**ASK, "model": "up:a", "moa": {"quorum": 1}}, "up:a", "moa.quorum"),
    ],
)
def test_a_request_that_cannot_be_is_refused_with_the_place_named(body: Any, words: str, param: str | None) -> None:
    with serving() as (served, upstream):
        answer = served.post("/v1/chat/completions", body)
    assert answer.status == 400
    error = answer.json["error"]
    assert words in error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert upstream.calls == []


def test_a_body_that_is_not_json_is_refused() -> None:
    with serving() as (served, _):
        answer = served.post("/v1/chat/completions", b"{")
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")


def test_votes_have_no_log_probabilities() -> None:
    with serving(toml=TOML.replace('"up:judge"', '{ kind = "vote" }')) as (served, _):
        answer = served.post("/v1/chat/completions", {**ASK, "logprobs": True})
    assert (answer.status, answer.json["error"]["param"]) == (400, "logprobs")


def test_votes_are_counted_also_after_a_tool_and_never_requested_in_another_format() -> None:
    turns = [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "y", "tool_call_id": "c1"}]
    with serving(toml=TOML.replace('"up:judge"', '{ kind = "vote" }')) as (served, upstream):
        answer = served.post("/v1/chat/completions", {**ASK, "messages": turns, "tools": [TOOL]})
        form = served.post("/v1/chat/completions", {**ASK, "response_format": {"type": "json_object"}})
    assert answer.json["choices"][0]["message"]["content"] == "red"
    assert form.status == 502
    assert "does not match the response format: it is not JSON" in form.json["error"]["message"]
    assert len(upstream.calls) == 4


def test_a_picker_leaves_a_request_with_tools_to_the_model_that_can_call_them() -> None:
    toml = TOML.replace('"up:judge"', '{ kind = "pick", model = "up:judge" }')
    with serving({**SAYS, "judge": CALLS}, toml) as (served, upstream):
        answer = served.post("/v1/chat/completions", {**ASK, "tools": [TOOL]})
    assert answer.json["choices"][0]["message"]["tool_calls"] == [CALL]
    assert [call.body.get("tools") for call in upstream.to("judge")] == [[TOOL]]


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_is_busy_is_passed_on_with_its_wait(stream: bool) -> None:
    with serving({"a": Reply(status=429, text="slow down", headers={"Retry-After": "7"})}) as (served, _):
        answer = served.post("/v1/chat/completions", {**ASK, "model": "up:a", "stream": stream})
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert answer.json["error"]["code"] == "upstream_rate_limit"


def test_an_error_in_the_middle_of_a_stream_is_its_last_event() -> None:
    with serving({"a": Reply("one two three", cut_after=2)}) as (served, _):
        answer = served.post("/v1/chat/completions", {**ASK, "model": "up:a", "stream": True})
    assert answer.status == 200
    assert answer.events[-1]["error"]["type"] == "upstream_error"
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_comments_keep_the_connection_until_the_first_word_and_an_error_after_them_is_an_event() -> None:
    toml = TOML + "[server]\nsse_ping_interval = 0.05\n"
    answers, failures = Held("red"), Held(Reply(status=500, text="broken"))
    comment = b": keep-alive\n\n"
    with serving({"a": answers, "b": failures}, toml) as (served, _):
        ask = {**ASK, "stream": True}
        answer = served.post_until(2 * comment, answers.release, "/v1/chat/completions", {**ask, "model": "up:a"})
        failed = served.post_until(comment, failures.release, "/v1/chat/completions", {**ask, "model": "up:b"})
    assert answer.body.startswith(2 * comment)
    assert content(answer) == "red"
    assert failed.body.startswith(comment)
    assert "broken" in failed.events[-1]["error"]["message"]


def test_a_client_that_goes_away_ends_every_upstream_call() -> None:
    with serving({"a": Reply("red", delay=3600), "b": Reply("blue", delay=3600)}) as (served, upstream):
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            body = b'{"model": "moa:duo", "messages": [{"role": "user", "content": "x"}]}'
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body)
            client.sendall(head + body)
            until(lambda: len(upstream.calls) == 2)
        until(lambda: all(call.dropped for call in upstream.calls))


def test_every_response_names_its_request() -> None:
    with serving() as (served, _):
        answers = [
            served.post("/v1/chat/completions", ASK),
            served.post("/v1/chat/completions", {**ASK, "stream": True}),
            served.post("/v1/chat/completions", {}),
            served.get("/nowhere"),
            served.get("/v1/models"),
        ]
    names = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(names)) == 5
    assert all(name.startswith("req_") for name in names)


def test_paths_and_methods_that_are_not_there_are_refused_in_json() -> None:
    with serving() as (served, _):
        path = served.get("/v2/everything")
        method = served.ask("DELETE", "/v1/chat/completions")
    assert (path.status, path.json["error"]["code"]) == (404, "not_found")
    assert (method.status, method.json["error"]["code"]) == (405, "method_not_allowed")
    assert method.headers["allow"] == "POST"


def test_mixtures_and_the_models_they_name_are_listed_and_found_whatever_is_in_their_names() -> None:
    toml = TOML.replace('"up:b"', '"up:org/b:7b-q4"')
    with serving(toml=toml) as (served, _):
        listed = served.get("/v1/models").json
        cards = [served.get(f"/v1/models/{card['id']}").json for card in listed["data"]]
        escaped = served.get("/v1/models/up%3Aorg%2Fb%3A7b-q4").json
        unknown = served.get("/v1/models/moa:trio")
    assert [card["id"] for card in listed["data"]] == ["moa:duo", "up:a", "up:judge", "up:org/b:7b-q4"]
    assert cards == listed["data"]
    assert escaped == cards[-1]
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "model_not_found")


def test_a_model_that_is_not_there_is_not_found() -> None:
    with serving() as (served, _):
        answer = served.post("/v1/chat/completions", {**ASK, "model": "moa:dua"})
    assert answer.status == 404
    assert answer.json["error"] == {
        "message": "no mixture 'dua'; did you mean 'duo'?",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
