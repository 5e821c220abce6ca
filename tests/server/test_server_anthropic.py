"""Anthropic's messages, on the wire and through Anthropic's own library."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.server import TOML, Served, serving
from helpers.tools import CALL, PIXEL, calling
from helpers.upstream import Body, Held, Reply

USER = {"role": "user", "content": "Which colour?"}
ASK = {"model": "moa:duo", "max_tokens": 100, "messages": [USER]}
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
SAYS = {"a": "red", "b": Reply("blue", delay=0.2), "judge": "purple it is"}
WEATHER = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(served: Served, **more: Any) -> Any:
    return served.post("/v1/messages", {**ASK, **more})


def sent(served_messages: list[Body]) -> list[tuple[str, Any]]:
    return [(message["role"], message["content"]) for message in served_messages if message["role"] != "system"]


def test_a_message_is_answered_by_the_mixture() -> None:
    with serving() as (served, _):
        answer = ask(served)
    assert answer.status == 200
    result = answer.json
    assert {key: result[key] for key in ("type", "role", "model", "content", "stop_reason", "stop_sequence")} == {
        "type": "message",
        "role": "assistant",
        "model": "moa:duo",
        "content": [{"type": "text", "text": "purple it is"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }
    assert result["usage"]["output_tokens"] == 5
    assert [member["model"] for member in result["moa"]["members"]] == ["up:a", "up:b", "up:judge"]
    assert answer.headers["request-id"].startswith("req_")


def test_a_stream_tells_the_proposals_one_after_another_as_thinking_and_then_the_answer() -> None:
    with serving(SAYS) as (served, _):
        events = ask(served, stream=True).events
    kinds = [one["type"] for one in events if one["type"] != "content_block_delta"]
    block = ["content_block_start", "content_block_stop"]
    assert kinds == ["message_start", *block, *block, *block, "message_delta", "message_stop"]
    assert blocks(events) == [
        ("thinking", "[up:a]\nred\n\n"),
        ("thinking", "[up:b]\nblue\n\n"),
        ("text", "purple it is"),
    ]
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"]["output_tokens"] == 5
    assert events[0]["message"]["content"] == []


def blocks(events: list[Any]) -> list[tuple[str, str]]:
    """What a client reads in each block, which must be open when words are told of it."""
    result: list[tuple[str, str]] = []
    signed: list[int] = []
    is_open = False
    for one in events:
        if one["type"] == "content_block_start":
            assert not is_open
            assert one["index"] == len(result)
            is_open = True
            result.append((one["content_block"]["type"], ""))
        elif one["type"] == "content_block_delta":
            assert is_open
            assert one["index"] == len(result) - 1
            kind, delta = result[-1][0], one["delta"]
            if delta["type"] == "signature_delta":
                signed.append(one["index"])
            else:
                result[-1] = kind, result[-1][1] + delta.get("partial_json" if kind == "tool_use" else kind, "")
        elif one["type"] == "content_block_stop":
            is_open = False
    assert signed == [place for place, (kind, _) in enumerate(result) if kind == "thinking"]
    return result


def test_each_event_is_named_by_its_type() -> None:
    with serving() as (served, _):
        lines = ask(served, stream=True).body.decode().split("\n")
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    types = [json.loads(line.removeprefix("data: "))["type"] for line in lines if line.startswith("data: ")]
    assert names == types


@pytest.mark.parametrize("thinking", [{"type": "disabled"}, {"type": "adaptive", "display": "omitted"}])
def test_declined_thinking_leaves_the_answer_alone(thinking: Body) -> None:
    with serving() as (served, _):
        assert blocks(ask(served, stream=True, thinking=thinking).events) == [("text", "purple it is")]


def test_a_whole_message_has_the_proposals_if_thinking_is_enabled() -> None:
    with serving(SAYS) as (served, _):
        content = ask(served, thinking={"type": "enabled", "budget_tokens": 1024}).json["content"]
    assert [block.get("thinking") or block["text"] for block in content] == [
        "[up:a]\nred",
        "[up:b]\nblue",
        "purple it is",
    ]
    assert all(block["signature"] for block in content[:2])


def test_silence_is_filled_with_pings() -> None:
    toml = TOML + "\n[server]\nsse_ping_interval = 0.05\n"
    held = Held("red")
    with serving({"a": held, "b": held, "judge": "purple"}, toml) as (served, _):
        answer = served.post_until(PING, held.release, "/v1/messages", {**ASK, "stream": True})
    assert answer.body.startswith(PING)
    assert blocks(answer.events)[-1] == ("text", "purple")


def test_an_error_after_a_ping_is_an_event() -> None:
    toml = TOML + "\n[server]\nsse_ping_interval = 0.05\n"
    held = Held(Reply("no", status=400))
    with serving({"a": held, "b": held, "judge": "purple"}, toml) as (served, _):
        answer = served.post_until(PING, held.release, "/v1/messages", {**ASK, "stream": True})
    assert answer.status == 200
    assert answer.events[-1]["type"] == "error"
    assert answer.events[-1]["error"]["type"] == "api_error"


def test_a_conversation_reaches_the_models_as_openai_would_have_it() -> None:
    turns = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                {"type": "image", "source": {"type": "url", "url": "http://example.com/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "A dot."},
                {"type": "tool_use", "id": "call_7", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_7", "content": [{"type": "text", "text": "rain"}]},
                {"type": "text", "text": "And now?"},
            ],
        },
    ]
    system = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]
    toml = TOML.replace("attempts = 1", "attempts = 1\nvision = true")
    with serving(toml=toml) as (served, upstream):
        assert ask(served, messages=turns, system=system).status == 200
        messages = upstream.to("a")[0].messages
    assert messages == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                {"type": "image_url", "image_url": {"url": "http://example.com/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": "A dot.",
            "tool_calls": [
                {"id": "call_7", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
            ],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "call_7"},
        {"role": "user", "content": "And now?"},
    ]


def test_the_result_of_a_tool_with_a_reminder_beside_it_goes_to_the_aggregator_alone() -> None:
    turns = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "weather", "input": {}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": "no such city", "is_error": True},
                {"type": "text", "text": "<system-reminder>Be quick.</system-reminder>"},
            ],
        },
    ]
    with serving() as (served, upstream):
        ask(served, messages=turns, tools=[WEATHER])
        assert [call.model for call in upstream.calls] == ["judge"]
        result = "Error: no such city\n\n<system-reminder>Be quick.</system-reminder>"
        assert upstream.calls[0].messages[-1] == {"role": "tool", "content": result, "tool_call_id": "c"}


def test_options_are_the_aggregators() -> None:
    options = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stop_sequences": ["END"],
        "tools": [WEATHER],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "me"},
    }
    with serving() as (served, upstream):
        ask(served, **options)
        body = upstream.to("judge")[0].body
        proposer = upstream.to("a")[0].body
    assert {key: value for key, value in body.items() if key not in ("messages", "model")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "max_tokens": 100,
        "stop": ["END"],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "The weather of a city",
                    "parameters": WEATHER["input_schema"],
                },
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    assert set(proposer) == {"model", "messages"}


def test_an_output_format_is_a_schema_that_the_answer_follows() -> None:
    wanted = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    says = {"a": "red", "b": "blue", "judge": '{"colour": "purple"}'}
    with serving(says) as (served, upstream):
        answer = ask(served, output_config={"format": {"type": "json_schema", "schema": wanted}})
        form = upstream.to("judge")[0].body["response_format"]
    assert answer.json["content"] == [{"type": "text", "text": '{"colour": "purple"}'}]
    assert form == {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}


def test_tool_calls_are_tool_use_blocks() -> None:
    with serving({"a": "red", "b": "blue", "judge": calling}) as (served, _):
        whole = ask(served, tools=[WEATHER]).json
        streamed = ask(served, tools=[WEATHER], stream=True).events
    assert whole["content"] == [{"type": "tool_use", "id": "call_7", "name": "weather", "input": {"city": "Oslo"}}]
    assert whole["stop_reason"] == "tool_use"
    assert blocks(streamed)[-1] == ("tool_use", '{"city": "Oslo"}')
    assert streamed[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_tool_call_without_an_id_gets_one() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": CALL["function"]}]}
    with serving({"a": "red", "b": "blue", "judge": Reply(message=message, finish_reason="tool_calls")}) as (served, _):
        (block,) = ask(served, tools=[WEATHER]).json["content"]
    assert block["id"].startswith("call_")


def test_an_answer_that_was_cut_off_says_so() -> None:
    with serving({"a": "red", "b": "blue", "judge": Reply("purple", finish_reason="length")}) as (served, _):
        assert ask(served).json["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("change", "status", "kind", "words"),
    [
        ({"model": "moa:nobody"}, 404, "not_found_error", "no mixture 'nobody'"),
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens"),
        ({"messages": []}, 400, "invalid_request_error", "messages"),
        ({"temperature": 1.5}, 400, "invalid_request_error", "temperature"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, 400, "invalid_request_error", "bash"),
        ({"tool_choice": {"type": "perhaps"}}, 400, "invalid_request_error", "tool_choice"),
        ({"moa": {"quorum": 9}}, 400, "invalid_request_error", "moa.quorum"),
        (
            {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
            400,
            "invalid_request_error",
            "messages.0.content.0",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_invalid_request_gets_an_error(change: Body, status: int, kind: str, words: str, stream: bool) -> None:
    with serving() as (served, _):
        answer = ask(served, stream=stream, **change)
    assert answer.status == status
    assert answer.json["type"] == "error"
    assert answer.json["error"]["type"] == kind
    assert words in answer.json["error"]["message"]
    assert answer.json["request_id"] == answer.headers["request-id"]


def test_too_few_proposals_is_an_error_before_and_an_event_after_the_first_words() -> None:
    failing = {"a": Reply("no", status=400), "b": Reply("no", status=400), "judge": "purple"}
    toml = TOML + "guard = false\n"
    late = {"a": "red", "b": "blue", "judge": Reply("no", status=500)}
    with serving(failing) as (served, _):
        early = ask(served, stream=True, thinking={"type": "disabled"})
    with serving(late, toml) as (served, _):
        events = ask(served, stream=True).events
    assert (early.status, early.json["error"]["type"]) == (502, "api_error")
    assert [one["type"] for one in events][-1] == "error"
    assert events[-1]["error"]["type"] == "api_error"


def test_an_effort_is_the_size_of_the_mixture() -> None:
    toml = TOML + 'effort = { xhigh = "up:a" }\n'
    with serving(toml=toml) as (served, upstream):
        small = ask(served, output_config={"effort": "low"})
        large = ask(served, output_config={"effort": "max"})
        wrong = ask(served, output_config={"effort": "heroic"})
        assert [call.model for call in upstream.calls][-1] == "a"
    assert [one.json["content"][0]["text"] for one in (small, large)] == ["purple it is", "red"]
    assert wrong.status == 400


@pytest.mark.parametrize("block", ["text", 7, None, {"type": "tool_result", "tool_use_id": "c", "content": 7}])
def test_a_block_that_is_none_is_refused(block: Any) -> None:
    with serving() as (served, _):
        result = {"type": "tool_result", "tool_use_id": "c", "content": [block]}
        answer = ask(served, messages=[{"role": "user", "content": [result]}])
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")


def test_tokens_are_estimated_before_they_are_paid() -> None:
    with serving() as (served, upstream):
        few = served.post("/v1/messages/count_tokens", {"model": "moa:duo", "messages": [USER]}).json
        many = served.post("/v1/messages/count_tokens", {"model": "moa:duo", "messages": [USER], "tools": [WEATHER]})
        assert not upstream.calls
    assert few == {"input_tokens": 8}
    assert many.json["input_tokens"] > 40


def test_a_name_of_anthropics_stands_for_the_mixture_that_the_configuration_names() -> None:
    toml = TOML + '\n[server]\naliases = { "claude-*" = "moa:duo" }\n'
    with serving(toml=toml) as (served, _):
        result = ask(served, model="claude-sonnet-4-5").json
        other = ask(served, model="gpt-5")
    assert (result["model"], result["content"][0]["text"]) == ("claude-sonnet-4-5", "purple it is")
    assert other.status == 404


@pytest.mark.clients
class TestAnthropicsLibrary:
    """What Anthropic's own library makes of it."""

    def client(self, served: Served) -> Any:
        anthropic = pytest.importorskip("anthropic")
        return anthropic.Anthropic(base_url=served.url, api_key="any", max_retries=0)

    def test_reads_a_message(self) -> None:
        with serving() as (served, _), self.client(served) as client:
            message = client.messages.create(**ASK)
        assert (message.content[0].text, message.stop_reason) == ("purple it is", "end_turn")
        assert message.usage.output_tokens == 5

    def test_reads_a_stream(self) -> None:
        with serving(SAYS) as (served, _), self.client(served) as client, client.messages.stream(**ASK) as stream:
            kinds = [event.type for event in stream]
            message = stream.get_final_message()
        assert "thinking" in kinds
        assert [block.type for block in message.content] == ["thinking", "thinking", "text"]
        assert message.content[0].thinking == "[up:a]\nred\n\n"
        assert message.content[0].signature
        assert message.content[-1].text == "purple it is"
        assert message.usage.output_tokens == 5

    @pytest.mark.parametrize("streamed", [False, True])
    def test_goes_with_a_tool_and_back(self, streamed: bool) -> None:
        with serving({"a": "red", "b": "blue", "judge": calling}) as (served, upstream), self.client(served) as client:
            fields = {**ASK, "tools": [WEATHER]}
            if streamed:
                with client.messages.stream(**fields) as stream:
                    message = stream.get_final_message()
            else:
                message = client.messages.create(**fields)
            call = next(block for block in message.content if block.type == "tool_use")
            assert (call.name, call.input) == ("weather", {"city": "Oslo"})
            result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
            history = [USER, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
            upstream.calls.clear()
            final = client.messages.create(**{**fields, "messages": history})
            assert final.content[0].text == "It rains in Oslo."
            assert [one.model for one in upstream.calls] == ["judge"]

    def test_raises_its_own_errors(self) -> None:
        anthropic = pytest.importorskip("anthropic")
        failing = {"a": Reply("no", status=400), "b": Reply("no", status=400), "judge": "purple"}
        with serving(failing) as (served, _), self.client(served) as client:
            with pytest.raises(anthropic.NotFoundError) as caught:
                client.messages.create(**{**ASK, "model": "moa:nobody"})
            assert caught.value.request_id.startswith("req_")
            with pytest.raises(anthropic.BadRequestError):
                client.messages.create(**{**ASK, "messages": []})
            with pytest.raises(anthropic.InternalServerError):
                client.messages.create(**ASK)

    def test_raises_an_error_in_the_middle_of_a_stream(self) -> None:
        anthropic = pytest.importorskip("anthropic")
        says = {"a": "red", "b": "blue", "judge": Reply("no", status=500)}
        with (
            serving(says, TOML + "guard = false\n") as (served, _),
            self.client(served) as client,
            pytest.raises(anthropic.APIStatusError, match="api_error"),
            client.messages.stream(**ASK) as stream,
        ):
            stream.get_final_message()

    def test_counts_tokens(self) -> None:
        with serving() as (served, _), self.client(served) as client:
            assert client.messages.count_tokens(model="moa:duo", messages=[USER]).input_tokens == 8
