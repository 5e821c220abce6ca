"""OpenAI's completions on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.server import TOML, serving

ASK = {"model": "moa:duo", "prompt": "Which colour?"}


def test_a_prompt_is_answered() -> None:
    with serving() as (served, upstream):
        answer = served.post("/v1/completions", {**ASK, "stop": ["\n"], "max_tokens": 9}).json
    assert (answer["object"], answer["model"]) == ("text_completion", "moa:duo")
    assert answer["choices"] == [{"text": "purple it is", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert answer["usage"]["completion_tokens"] == 5
    judge = upstream.to("judge")[0]
    assert (judge.body["stop"], judge.body["max_tokens"]) == (["\n"], 9)
    assert judge.messages[-1] == {"role": "user", "content": "Which colour?"}


def test_a_stream_is_the_answer_alone_and_the_usage_on_request() -> None:
    with serving() as (served, _):
        body = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
        events = served.post("/v1/completions", body).events
    assert "".join(one["choices"][0]["text"] for one in events[:-1]) == "purple it is"
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert (events[-1]["choices"], events[-1]["usage"]["completion_tokens"]) == ([], 5)


@pytest.mark.parametrize("stream", [False, True])
def test_proposals_and_the_prompt_stand_before_the_answer_on_request(stream: bool) -> None:
    toml = TOML.replace('["up:a", "up:b"]', '["up:a"]')
    with serving(toml=toml) as (served, _):
        body = {**ASK, "prompt": ["Colour: "], "echo": True, "moa": {"show_proposals": "think"}, "stream": stream}
        answer = served.post("/v1/completions", body)
    result = "".join(one["choices"][0]["text"] for one in (answer.events if stream else [answer.json]))
    assert result == "Colour: <think>\n[up:a]\nred\n\n\n</think>\n\npurple it is"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["one", "two"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt.0"),
        ({"n": 2}, "n"),
        ({"best_of": 2}, "n"),
        ({"suffix": "end"}, "suffix"),
        ({"logprobs": 3}, "logprobs"),
    ],
)
def test_what_a_mixture_cannot_do_is_refused(fields: dict[str, Any], param: str) -> None:
    with serving() as (served, _):
        answer = served.post("/v1/completions", {**ASK, **fields})
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
