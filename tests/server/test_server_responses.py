"""OpenAI's responses on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.server import SAYS, TOML, Answer, serving
from helpers.upstream import Held, Reply, chunk, event

ASK = {"model": "moa:duo", "input": "Which colour?"}
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def calling(name: str, arguments: str) -> Reply:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    called = event(chunk({"role": "assistant", "tool_calls": [{"index": 0, **call}]}))
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return Reply(stream=[called, event(chunk({}, "tool_calls")), b"data: [DONE]\n\n"], message=message)


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_ids(one) for key, one in value.items() if key not in ("id", "item_id")}
    return [without_ids(one) for one in value] if isinstance(value, list) else value


def kinds(answer: Answer) -> list[str]:
    return [one["type"].removeprefix("response.") for one in answer.events]


def message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "status": "completed", "role": "assistant", "content": [part]}


def test_a_mixture_gives_a_response() -> None:
    with serving() as (served, _):
        answer = served.post("/v1/responses", ASK)
    whole = answer.json
    assert answer.status == 200
    assert (whole["object"], whole["status"], whole["model"], whole["store"]) == (
        "response",
        "completed",
        "moa:duo",
        False,
    )
    assert without_ids(whole["output"]) == [message("purple it is")]
    assert whole["usage"]["output_tokens"] == 5
    assert whole["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}
    assert whole["usage"]["total_tokens"] == whole["usage"]["input_tokens"] + 5
    assert [member["model"] for member in whole["moa"]["members"]] == ["up:a", "up:b", "up:judge"]


def test_a_stream_shows_each_proposal_as_a_summary_of_its_own_and_then_the_answer() -> None:
    with serving({**SAYS, "b": Reply("blue", delay=0.1), "judge": "purple"}) as (served, _):
        answer = served.post("/v1/responses", {**ASK, "stream": True})
    assert kinds(answer) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [one["sequence_number"] for one in answer.events] == list(range(21))
    names = [line.removeprefix("event: ") for line in answer.body.decode().split("\n") if line.startswith("event")]
    assert names == [one["type"] for one in answer.events]
    texts = ["[up:a]\nred\n\n", "[up:b]\nblue\n\n"]
    summaries = [{"type": "summary_text", "text": text} for text in texts]
    output = [{"type": "reasoning", "summary": summaries}, message("purple")]
    assert without_ids(answer.events[-1]["response"]["output"]) == output


def test_a_whole_response_has_the_proposals_if_a_summary_is_requested() -> None:
    toml = TOML.replace('["up:a", "up:b"]', '["up:a"]')
    with serving(toml=toml) as (served, _):
        output = served.post("/v1/responses", {**ASK, "reasoning": {"summary": "auto"}}).json["output"]
    summary = [{"type": "summary_text", "text": "[up:a]\nred\n\n"}]
    assert without_ids(output) == [{"type": "reasoning", "summary": summary}, message("purple it is")]


def test_items_become_the_conversation_and_what_was_thought_is_left_out() -> None:
    items = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
        {"role": "user", "content": "Look up and down."},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I will."}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "say", "input": 'a "b"'},
        {"type": "function_call_output", "call_id": "c1", "output": "grey"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "said"}]},
    ]
    with serving() as (served, upstream):
        answer = served.post("/v1/responses", {**ASK, "instructions": "Be brief.", "input": items, "tools": [LOOK]})
    assert answer.status == 200
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "say", "arguments": '{"input": "a \\"b\\""}'}},
    ]
    assert [(call.model, call.messages) for call in upstream.calls] == [
        (
            "judge",
            [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": "Be kind."},
                {"role": "user", "content": "Look up and down."},
                {"role": "assistant", "content": "I will.", "tool_calls": calls},
                {"role": "tool", "content": "grey", "tool_call_id": "c1"},
                {"role": "tool", "content": "said", "tool_call_id": "c2"},
            ],
        )
    ]


def test_images_go_to_the_models_that_see() -> None:
    toml = TOML + "[providers.up.models]\njudge = { vision = true }\n"
    parts = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
    ]
    with serving(toml=toml) as (served, upstream):
        served.post("/v1/responses", {**ASK, "input": [{"role": "user", "content": parts}]})
    assert upstream.to("judge")[0].messages[-1]["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]
    assert upstream.to("a")[0].messages[-1]["content"] == "What?\n[Here the user gave an image that you cannot see.]\n"


def test_tools_go_to_the_aggregator_and_its_calls_are_items() -> None:
    with serving({**SAYS, "judge": calling("look", '{"at": "sky"}')}) as (served, upstream):
        streamed = served.post(
            "/v1/responses", {**ASK, "tools": [LOOK], "stream": True, "moa": {"show_proposals": "off"}}
        )
        whole = served.post("/v1/responses", {**ASK, "tools": [LOOK]}).json
    item = {
        "type": "function_call",
        "status": "completed",
        "call_id": "c1",
        "name": "look",
        "arguments": '{"at": "sky"}',
    }
    assert without_ids(whole["output"]) == [item] == without_ids(streamed.events[-1]["response"]["output"])
    assert kinds(streamed)[2:] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    function = {"name": "look", "parameters": {"type": "object"}}
    assert upstream.to("judge")[0].body["tools"] == [{"type": "function", "function": function}]
    assert "tools" not in upstream.to("a")[0].body


def test_a_tool_that_takes_plain_text_is_a_function_for_the_model() -> None:
    patch = {"type": "custom", "name": "patch", "description": "Change files."}
    with serving({**SAYS, "judge": calling("patch", '{"input": "*** Begin"}')}) as (served, upstream):
        answer = served.post("/v1/responses", {**ASK, "tools": [patch], "stream": True})
    assert without_ids(answer.events[-1]["response"]["output"])[-1] == {
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "c1",
        "name": "patch",
        "input": "*** Begin",
    }
    assert "custom_tool_call_input.done" in kinds(answer)
    assert upstream.to("judge")[0].body["tools"][0]["function"]["parameters"]["required"] == ["input"]


def test_tools_that_only_openai_runs_are_left_out_and_named() -> None:
    with serving() as (served, upstream):
        answer = served.post("/v1/responses", {**ASK, "tools": [{"type": "web_search"}], "store": True, "user": "me"})
    assert answer.json["moa"]["unused"] == ["user", "store", "tools: web_search"]
    assert "tools" not in upstream.to("judge")[0].body


def test_the_form_of_the_answer_is_kept() -> None:
    answers = iter(["seven", '{"n": 7}'])
    form = {"type": "json_schema", "name": "number", "schema": NUMBER, "strict": True}
    with serving({**SAYS, "judge": lambda _: next(answers)}) as (served, upstream):
        answer = served.post("/v1/responses", {**ASK, "text": {"format": form}})
    assert without_ids(answer.json["output"]) == [message('{"n": 7}')]
    assert answer.json["text"] == {"format": form}
    assert upstream.to("judge")[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "number", "schema": NUMBER, "strict": True},
    }


def test_an_answer_cut_off_by_its_limit_is_incomplete() -> None:
    says = {**SAYS, "judge": Reply("purple", finish_reason="length")}
    with serving(says) as (served, _):
        answer = served.post("/v1/responses", {**ASK, "max_output_tokens": 1, "stream": True})
    last = answer.events[-1]
    assert last["type"] == "response.incomplete"
    assert (last["response"]["status"], last["response"]["incomplete_details"]) == (
        "incomplete",
        {"reason": "max_output_tokens"},
    )


def test_reasoning_effort_chooses_the_size_that_the_mixture_says() -> None:
    with serving(toml=TOML + 'effort = { low = "up:a" }\n') as (served, upstream):
        answer = served.post("/v1/responses", {**ASK, "reasoning": {"effort": "low"}})
    assert [call.model for call in upstream.calls] == ["a"]
    assert answer.json["reasoning"]["effort"] == "low"


def test_an_error_before_the_first_word_has_a_status_and_one_after_it_is_a_failed_response() -> None:
    says = {"a": Reply("one two three", cut_after=2), "b": Reply(status=500, text="broken")}
    with serving(says) as (served, _):
        early = served.post("/v1/responses", {**ASK, "model": "up:b", "stream": True})
        late = served.post("/v1/responses", {**ASK, "model": "up:a", "stream": True})
    assert (early.status, early.json["error"]["type"]) == (502, "upstream_error")
    last = late.events[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert "the stream was cut" in last["response"]["error"]["message"]
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_a_failure_after_comments_is_still_a_whole_stream() -> None:
    toml = TOML + "[server]\nsse_ping_interval = 0.05\n"
    held = Held(Reply(status=500, text="broken"))
    with serving({"a": held}, toml) as (served, _):
        body = {**ASK, "model": "up:a", "stream": True}
        answer = served.post_until(b": keep-alive\n\n", held.release, "/v1/responses", body)
    assert answer.body.startswith(b": keep-alive\n\n")
    assert kinds(answer) == ["created", "in_progress", "failed"]


@pytest.mark.parametrize(
    ("fields", "words", "param"),
    [
        ({"previous_response_id": "resp_1"}, "", "previous_response_id"),
        ({"conversation": "conv_1"}, "", "previous_response_id"),
        ({"background": True}, "", "background"),
        ({"prompt": {"id": "p"}}, "", "prompt"),
        ({"input": ""}, "the prompt is empty", None),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "not stored", "input.0"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "needs image_url",
            "input",
        ),
        ({"tools": [{"type": "function"}]}, "needs a name", "tools"),
        ({"text": {"format": {"type": "json_schema"}}}, "needs json_schema.schema", None),
        ({"tool_choice": "maybe"}, "", "tool_choice"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], words: str, param: str | None) -> None:
    with serving() as (served, upstream):
        answer = served.post("/v1/responses", {**ASK, **fields})
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert words in answer.json["error"]["message"]
    assert upstream.calls == []
