"""Ollama's API, on the wire and through its own client and LlamaIndex."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.server import TOML, Answer, Served, serving
from helpers.tools import CALL, PIXEL, calling
from helpers.upstream import Body, Held, Reply, chunk, event

USER = {"role": "user", "content": "Which colour?"}
ASK = {"model": "duo:latest", "messages": [USER]}
SAYS = {"a": "red", "b": Reply("blue", delay=0.2), "judge": "purple it is"}
PROPOSALS = "[up:a]\nred\n\n[up:b]\nblue\n\n"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat(served: Served, **more: Any) -> Answer:
    return served.post("/api/chat", {**ASK, **more})


def lines(answer: Answer) -> list[Any]:
    return [json.loads(line) for line in answer.body.decode().split("\n")[:-1]]


def read(result: list[Any], field: str) -> str:
    return "".join(one["message"].get(field, "") for one in result)


def test_it_says_that_it_is_there() -> None:
    with serving() as (served, _):
        assert served.get("/").body == b"Ollama is running"
        assert served.ask("HEAD", "/").status == 200
        assert served.get("/api/version").json["version"].split(".")[0].isdigit()
        assert served.get("/api/ps").json == {"models": []}


def test_every_model_is_listed_with_a_tag() -> None:
    with serving() as (served, _):
        models = served.get("/api/tags").json["models"]
        names = [model["name"] for model in models]
        assert "duo:latest" in names
        assert "up:judge:latest" in names
        assert [served.post("/api/show", {"model": name}).status for name in names] == [200] * len(names)


def test_a_model_says_what_it_can_do_and_how_much_its_smallest_member_reads() -> None:
    toml = TOML.replace("attempts = 1", "attempts = 1\nmodels = { a = { context_window = 4096, vision = true } }")
    with serving(toml=toml) as (served, _):
        known = served.post("/api/show", {"model": "duo"}).json
        unknown = served.post("/api/show", {"name": "up:b"}).json
    assert known["model_info"]["moa.context_length"] == 4096
    assert known["model_info"]["general.architecture"] == "moa"
    assert known["capabilities"] == ["completion", "tools", "vision", "thinking"]
    assert unknown["model_info"]["moa.context_length"] == 32_768
    assert unknown["capabilities"] == ["completion", "tools", "thinking"]


def test_a_chat_streams_the_proposals_as_thinking_and_then_the_answer() -> None:
    with serving(SAYS) as (served, _):
        answer = chat(served)
    result = lines(answer)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert (read(result, "thinking"), read(result, "content")) == (PROPOSALS, "purple it is")
    assert [one["done"] for one in result] == [False] * (len(result) - 1) + [True]
    last = result[-1]
    assert (last["done_reason"], last["eval_count"], last["model"]) == ("stop", 5, "duo:latest")
    assert last["total_duration"] >= last["eval_duration"] > 0
    assert [member["model"] for member in last["moa"]["members"]] == ["up:a", "up:b", "up:judge"]


@pytest.mark.parametrize("think", [True, None, "high"])
def test_a_whole_chat_is_one_object(think: Any) -> None:
    with serving(SAYS) as (served, _):
        answer = chat(served, stream=False, think=think)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["message"] == {"role": "assistant", "content": "purple it is", "thinking": PROPOSALS}
    assert answer.json["done"] is True


@pytest.mark.parametrize("stream", [True, False])
def test_declined_thinking_leaves_the_answer_alone(stream: bool) -> None:
    with serving() as (served, _):
        result = lines(chat(served, think=False)) if stream else [chat(served, think=False, stream=False).json]
    assert (read(result, "thinking"), read(result, "content")) == ("", "purple it is")


def test_a_text_is_generated() -> None:
    call_body = {"model": "duo", "prompt": "Which colour?", "system": "Be brief."}
    with serving(SAYS) as (served, upstream):
        result = lines(served.post("/api/generate", call_body))
        whole = served.post("/api/generate", {**call_body, "stream": False}).json
        assert upstream.to("a")[0].messages == [{"role": "system", "content": "Be brief."}, USER]
    assert "".join(one["response"] for one in result) == "purple it is"
    assert "".join(one.get("thinking", "") for one in result) == PROPOSALS
    assert (result[-1]["done"], result[-1]["done_reason"]) == (True, "stop")
    assert (whole["response"], whole["thinking"], whole["done"]) == ("purple it is", PROPOSALS, True)


def test_how_hard_to_think_is_the_size_of_the_mixture() -> None:
    with serving(toml=TOML + 'effort = { low = "up:a" }\n') as (served, _):
        assert chat(served, stream=False, think="low").json["message"]["content"] == "red"
        assert chat(served, stream=False, think="high").json["message"]["content"] == "purple it is"


def test_asking_nothing_loads_the_model() -> None:
    with serving() as (served, upstream):
        assert chat(served, messages=[]).json["done_reason"] == "load"
        assert chat(served, messages=[], keep_alive=0).json["done_reason"] == "unload"
        result = served.post("/api/generate", {"model": "duo", "keep_alive": "5m"}).json
        assert (result["response"], result["done"], result["done_reason"]) == ("", True, "load")
        assert chat(served, model="nobody", messages=[]).status == 404
        assert not upstream.calls


def test_options_go_to_the_aggregator_and_those_about_loading_are_ignored() -> None:
    options = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "seed": 7,
        "stop": ["END"],
        "num_predict": 50,
        "num_ctx": 4096,
        "num_gpu": 1,
    }
    with serving() as (served, upstream):
        chat(served, stream=False, options=options, keep_alive="5m", tools=[WEATHER])
        body = upstream.to("judge")[0].body
        proposer = upstream.to("a")[0].body
    assert {key: value for key, value in body.items() if key not in ("messages", "model")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "max_tokens": 50,
        "seed": 7,
        "stop": ["END"],
        "tools": [WEATHER],
    }
    assert set(proposer) == {"model", "messages", "seed"}


@pytest.mark.parametrize("limit", [-1, -2, 0])
def test_a_limit_below_one_is_none(limit: int) -> None:
    with serving() as (served, upstream):
        chat(served, stream=False, options={"num_predict": limit})
        assert "max_tokens" not in upstream.to("judge")[0].body


def test_a_format_is_what_the_answer_has() -> None:
    wanted = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    says = {"a": "red", "b": "blue", "judge": '{"colour": "purple"}'}
    with serving(says) as (served, upstream):
        answer = chat(served, stream=False, format=wanted)
        chat(served, stream=False, format="json")
        forms = [call.body["response_format"] for call in upstream.to("judge")]
        wrong = chat(served, format="yaml")
    assert answer.json["message"]["content"] == '{"colour": "purple"}'
    assert forms[0] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    assert forms[1] == {"type": "json_object"}
    assert (wrong.status, list(wrong.json)) == (400, ["error"])


def test_images_are_shown() -> None:
    toml = TOML.replace("attempts = 1", "attempts = 1\nvision = true")
    with serving(toml=toml) as (served, upstream):
        chat(served, messages=[{**USER, "images": [PIXEL, "/9j/4AAQ"]}])
        assert upstream.to("a")[0].messages[-1]["content"] == [
            {"type": "text", "text": "Which colour?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ"}},
        ]


def test_tool_calls_have_objects_as_arguments() -> None:
    with serving({"a": "red", "b": "blue", "judge": calling}) as (served, _):
        whole = chat(served, tools=[WEATHER], stream=False).json
        streamed = lines(chat(served, tools=[WEATHER]))
    calls = [{"id": "call_7", "function": {"index": 0, "name": "weather", "arguments": {"city": "Oslo"}}}]
    assert whole["message"]["tool_calls"] == calls
    assert [one["message"]["tool_calls"] for one in streamed if "tool_calls" in one["message"]] == [calls]


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_call_without_an_object_is_an_error(stream: bool) -> None:
    message = {"tool_calls": [{**CALL, "function": {"name": "weather", "arguments": "Oslo"}}]}
    packets = [event(chunk({"tool_calls": [{"index": 0, **message["tool_calls"][0]}]})), b"data: [DONE]\n\n"]

    def broken(body: Body) -> Reply:
        return Reply(message=message, stream=packets if body.get("stream") else None, finish_reason="tool_calls")

    with serving({"a": "red", "b": "blue", "judge": broken}) as (served, _):
        answer = chat(served, tools=[WEATHER], stream=stream)
    assert "weather" in lines(answer)[-1]["error"] if stream else answer.status == 502


def test_results_find_the_calls_they_belong_to() -> None:
    def call(name: str) -> Body:
        return {"function": {"name": name, "arguments": {}}}

    turns = [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [call("time"), call("weather"), call("weather")]},
        {"role": "tool", "tool_name": "weather", "content": "rain"},
        {"role": "tool", "content": "noon"},
        {"role": "tool", "tool_name": "weather", "content": "snow"},
    ]
    with serving() as (served, upstream):
        chat(served, messages=turns)
        assert [call.model for call in upstream.calls] == ["judge"]
        messages = upstream.calls[0].messages
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call_0", "call_1", "call_2"]
    results = [(message["tool_call_id"], message["content"]) for message in messages[2:]]
    assert results == [("call_1", "rain"), ("call_0", "noon"), ("call_2", "snow")]


def test_silence_is_filled_with_lines_that_say_nothing() -> None:
    toml = TOML + "\n[server]\nsse_ping_interval = 0.05\n"
    held = Held("red")
    with serving({"a": held, "b": held, "judge": "purple"}, toml) as (served, _):
        result = lines(served.post_until(b'"content":""', held.release, "/api/chat", ASK))
    assert result[0]["message"] == {"role": "assistant", "content": ""}
    assert read(result, "content") == "purple"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "nobody"}, 404, "no mixture 'nobody'"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "empty"),
        ({"messages": [{"role": "crowd", "content": "Hm"}]}, 400, "messages.0.role"),
        ({"options": {"top_p": 2}}, 400, "top_p"),
        ({"moa": {"quorum": 9}}, 400, "moa.quorum"),
    ],
)
def test_an_invalid_request_gets_an_error(change: Body, status: int, words: str, stream: bool) -> None:
    with serving() as (served, _):
        answer = chat(served, stream=stream, **change)
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert words in answer.json["error"]


def test_a_failure_in_the_middle_is_the_last_line() -> None:
    with serving({"a": "red", "b": "blue", "judge": Reply("no", status=500)}, TOML + "guard = false\n") as (served, _):
        result = lines(chat(served))
    assert list(result[-1]) == ["error"]


@pytest.mark.clients
class TestOllamasClient:
    """What Ollama's own client makes of it."""

    def client(self, served: Served) -> Any:
        return pytest.importorskip("ollama").Client(served.url)

    def test_lists_and_shows(self) -> None:
        with serving() as (served, _), self.client(served) as client:
            names = [model.model for model in client.list().models]
            shown = client.show(names[0])
            assert client.ps().models == []
        assert "duo:latest" in names
        assert shown.modelinfo["moa.context_length"] == 32_768
        assert "thinking" in shown.capabilities

    def test_reads_a_chat(self) -> None:
        with serving(SAYS) as (served, _), self.client(served) as client:
            whole = client.chat("duo", [USER], think=True)
            parts = list(client.chat("duo", [USER], stream=True, think=True))
        assert (whole.message.content, whole.message.thinking) == ("purple it is", PROPOSALS)
        assert "".join(part.message.content or "" for part in parts) == "purple it is"
        assert "".join(part.message.thinking or "" for part in parts) == PROPOSALS
        assert parts[-1].done_reason == "stop"
        assert parts[-1].eval_count == 5

    def test_reads_a_generated_text(self) -> None:
        with serving() as (served, _), self.client(served) as client:
            assert client.generate("duo", "Which colour?").response == "purple it is"
            parts = client.generate("duo", "Which colour?", stream=True)
            assert "".join(part.response for part in parts) == "purple it is"

    @pytest.mark.parametrize("stream", [True, False])
    def test_goes_with_a_tool_and_back(self, stream: bool) -> None:
        with serving({"a": "red", "b": "blue", "judge": calling}) as (served, upstream), self.client(served) as client:
            result = client.chat("duo", [USER], tools=[WEATHER], stream=stream)
            message = next(one.message for one in (result if stream else [result]) if one.message.tool_calls)
            assert message.tool_calls[0].function.arguments == {"city": "Oslo"}
            result = {"role": "tool", "tool_name": "weather", "content": "rain"}
            upstream.calls.clear()
            final = client.chat("duo", [USER, message, result], tools=[WEATHER])
            assert final.message.content == "It rains in Oslo."
            assert [one.model for one in upstream.calls] == ["judge"]
            sent = upstream.calls[0].messages
            assert sent[-1]["tool_call_id"] == sent[-2]["tool_calls"][0]["id"]

    def test_raises_its_own_errors(self) -> None:
        ollama = pytest.importorskip("ollama")
        says = {"a": "red", "b": "blue", "judge": Reply("no", status=500)}
        with serving(says, TOML + "guard = false\n") as (served, _), self.client(served) as client:
            with pytest.raises(ollama.ResponseError) as caught:
                client.chat("nobody", [USER])
            assert caught.value.status_code == 404
            with pytest.raises(ollama.ResponseError, match="judge"):
                list(client.chat("duo", [USER], stream=True))


@pytest.mark.clients
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestLlamaIndex:
    """What llama-index-llms-ollama makes of it."""

    @contextmanager
    def llm(self, served: Served, **options: Any) -> Iterator[Any]:
        ollama = pytest.importorskip("llama_index.llms.ollama")
        llm = ollama.Ollama("duo", base_url=served.url, **options)
        yield llm
        llm.client.close()

    def test_reads_the_context_window_and_the_answer(self) -> None:
        toml = TOML.replace("attempts = 1", "attempts = 1\ncontext_window = 4096")
        with serving(toml=toml) as (served, _), self.llm(served) as llm:
            assert llm.metadata.context_window == 4096
            assert llm.complete("Which colour?").text == "purple it is"

    def test_reads_the_proposals_as_thinking(self) -> None:
        types = pytest.importorskip("llama_index.core.llms")
        with serving(SAYS) as (served, _), self.llm(served, thinking=True) as llm:
            parts = list(llm.stream_chat([types.ChatMessage("Which colour?")]))
        assert "".join(part.delta or "" for part in parts) == "purple it is"
        assert "".join(part.additional_kwargs["thinking_delta"] or "" for part in parts) == PROPOSALS

    async def test_asks_without_blocking_the_loop(self) -> None:
        with serving() as (served, _), self.llm(served) as llm:
            assert (await llm.acomplete("Which colour?")).text == "purple it is"
            await llm.async_client.close()

    def test_calls_tools(self) -> None:
        tools = pytest.importorskip("llama_index.core.tools")

        def weather(city: str) -> str:
            """The weather of a city."""
            return f"rain in {city}"

        tool = tools.FunctionTool.from_defaults(weather)
        with serving({"a": "red", "b": "blue", "judge": calling}) as (served, _), self.llm(served) as llm:
            response = llm.chat_with_tools([tool], "Which weather?")
            (call,) = llm.get_tool_calls_from_response(response)
        assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Oslo"})
