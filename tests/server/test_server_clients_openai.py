"""The clients of OpenAI's protocols, used as their users do, over a real socket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.server import SAYS, TOML, Served, serving
from helpers.upstream import Body, Reply, chunk, event

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("default")]

ASK: Any = [{"role": "user", "content": "Which colour?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look somewhere.",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}


def judge(body: Body) -> Reply:
    """Looks with the tool, where there is one, and then says what it has seen."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return Reply(f"it is {last['content']}")
    if not body.get("tools"):
        return Reply("purple it is")
    name = body["tools"][0]["function"]["name"]
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": '{"at": "sky"}'}}
    called = event(chunk({"role": "assistant", "tool_calls": [{"index": 0, **call}]}))
    stream = [called, event(chunk({}, "tool_calls")), b"data: [DONE]\n\n"]
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return Reply(stream=stream, message=message, finish_reason="tool_calls")


@pytest.fixture
def served() -> Iterator[Served]:
    says = {
        **SAYS,
        "judge": judge,
        "busy": Reply(status=429, text="slow down", headers={"Retry-After": "1"}),
        "broken": Reply(status=500, text="broken"),
        "cut": Reply("one two three four", cut_after=2),
    }
    extra = '[mixtures.{0}]\nproposers = ["up:a"]\naggregator = "up:{0}"\nguard = false\n'
    toml = TOML + "".join(extra.format(name) for name in ("busy", "broken", "cut"))
    with serving(says, toml) as (server, _):
        yield server


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def http_client() -> Iterator[Any]:
    """The HTTP client of a library that does not close its own."""
    with pytest.importorskip("httpx").Client() as client:
        yield client


def test_openai_lists_and_finds_the_models(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert names[:2] == ["moa:duo", "moa:busy"]
    assert client.models.retrieve("moa:duo").owned_by == "moa"


def test_openai_chat_answers_whole(client: Any) -> None:
    answer = client.chat.completions.create(model="moa:duo", messages=ASK)
    assert answer.choices[0].message.content == "purple it is"
    assert answer.usage.completion_tokens_details.reasoning_tokens == 2
    assert answer._request_id.startswith("req_")


def test_openai_chat_streams_the_proposals_and_the_answer(client: Any) -> None:
    fields = {"model": "moa:duo", "messages": ASK, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**fields, stream=True))
    deltas = [one.choices[0].delta for one in chunks if one.choices]
    assert "".join(delta.content or "" for delta in deltas) == "purple it is"
    thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert "[up:a]\nred" in thought
    assert "[up:b]\nblue" in thought
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + 5


@pytest.mark.parametrize("fields", [{}, {"tools": [TOOL]}, {"moa": {"show_proposals": "think"}}])
def test_every_chunk_is_valid_to_the_letter(served: Served, fields: Body) -> None:
    types = pytest.importorskip("openai.types.chat")
    body = {"model": "moa:duo", "messages": ASK, "stream": True, "stream_options": {"include_usage": True}, **fields}
    answer = served.post("/v1/chat/completions", body)
    for one in answer.events:
        types.ChatCompletionChunk.model_validate_json(json.dumps(one), strict=True)
    whole = served.post("/v1/chat/completions", {**body, "stream": False, "stream_options": None})
    types.ChatCompletion.model_validate_json(whole.body, strict=True)


@pytest.mark.parametrize("fields", [{}, {"tools": [{"type": "function", **TOOL["function"]}]}])
def test_every_event_of_a_response_is_valid_to_the_letter(served: Served, fields: Body) -> None:
    types = pytest.importorskip("openai.types.responses")
    from pydantic import TypeAdapter

    body = {"model": "moa:duo", "input": "Which colour?", **fields}
    events: TypeAdapter[Any] = TypeAdapter(types.ResponseStreamEvent)
    for one in served.post("/v1/responses", {**body, "stream": True}).events:
        events.validate_json(json.dumps(one), strict=True)
    types.Response.model_validate_json(served.post("/v1/responses", body).body, strict=True)


def test_openai_helper_for_streams_gathers_the_same_answer(client: Any) -> None:
    with client.chat.completions.stream(model="moa:duo", messages=ASK) as stream:
        for _ in stream:
            pass
        answer = stream.get_final_completion()
    assert answer.choices[0].message.content == "purple it is"


@pytest.mark.parametrize("streamed", [False, True])
def test_openai_chat_calls_a_tool_and_reads_what_it_gave(client: Any, streamed: bool) -> None:
    if streamed:
        with client.chat.completions.stream(model="moa:duo", messages=ASK, tools=[TOOL]) as stream:
            answer = stream.get_final_completion()
    else:
        answer = client.chat.completions.create(model="moa:duo", messages=ASK, tools=[TOOL])
    message = answer.choices[0].message
    (call,) = message.tool_calls
    assert (answer.choices[0].finish_reason, call.function.name) == ("tool_calls", "look")
    turns = [*ASK, message.model_dump(exclude_none=True), {"role": "tool", "content": "grey", "tool_call_id": call.id}]
    again = client.chat.completions.create(model="moa:duo", messages=turns, tools=[TOOL])
    assert again.choices[0].message.content == "it is grey"


def test_openai_parses_an_answer_in_the_form_of_a_class() -> None:
    openai = pytest.importorskip("openai")
    from pydantic import BaseModel

    class Number(BaseModel):
        n: int

    answers = iter(["seven", '{"n": 7}', "seven", '{"n": 7}'])
    with (
        serving({**SAYS, "judge": lambda _: next(answers)}) as (served, _),
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="none") as client,
    ):
        chat = client.chat.completions.parse(model="moa:duo", messages=ASK, response_format=Number)
        response = client.responses.parse(model="moa:duo", input="Which number?", text_format=Number)
    assert chat.choices[0].message.parsed == Number(n=7) == response.output_parsed


def test_openai_responses_answer_whole_and_streamed(client: Any) -> None:
    whole = client.responses.create(model="moa:duo", input="Which colour?", store=False)
    assert (whole.output_text, whole.status) == ("purple it is", "completed")
    with client.responses.stream(model="moa:duo", input="Which colour?") as stream:
        kinds = [one.type for one in stream]
        final = stream.get_final_response()
    assert final.output_text == "purple it is"
    assert "response.reasoning_summary_text.delta" in kinds
    assert [len(item.summary) for item in final.output if item.type == "reasoning"] == [2]


@pytest.mark.parametrize("streamed", [False, True])
def test_openai_responses_call_a_tool_and_read_what_it_gave(client: Any, streamed: bool) -> None:
    tool = {"type": "function", "strict": False, **TOOL["function"]}
    fields = {"model": "moa:duo", "tools": [tool]}
    turns: list[Any] = [{"role": "user", "content": "Which colour?"}]
    if streamed:
        with client.responses.stream(**fields, input=turns) as stream:
            answer = stream.get_final_response()
    else:
        answer = client.responses.create(**fields, input=turns)
    (call,) = (item for item in answer.output if item.type == "function_call")
    assert (call.name, call.arguments) == ("look", '{"at": "sky"}')
    turns += [item.model_dump(exclude_none=True) for item in answer.output]
    turns.append({"type": "function_call_output", "call_id": call.call_id, "output": "grey"})
    assert client.responses.create(**fields, input=turns).output_text == "it is grey"


def test_openai_completions_answer_whole_and_streamed(client: Any) -> None:
    whole = client.completions.create(model="moa:duo", prompt="Which colour?")
    streamed = list(client.completions.create(model="moa:duo", prompt="Which colour?", stream=True))
    assert whole.choices[0].text == "purple it is" == "".join(one.choices[0].text for one in streamed)


@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ({"model": "moa:nobody"}, "NotFoundError", "model_not_found"),
        ({"model": "moa:duo", "temperature": 9}, "BadRequestError", None),
        ({"model": "moa:busy"}, "RateLimitError", "upstream_rate_limit"),
        ({"model": "moa:broken"}, "InternalServerError", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_raise_the_classes_of_openais_library(
    client: Any, fields: Body, kind: str, code: str | None, stream: bool
) -> None:
    openai = pytest.importorskip("openai")
    quiet = {"moa": {"show_proposals": "off"}}
    with pytest.raises(getattr(openai, kind)) as caught:
        client.chat.completions.create(messages=ASK, stream=stream, extra_body=quiet, **fields)
    assert caught.value.code == code
    assert caught.value.request_id.startswith("req_")
    if kind == "RateLimitError":
        assert caught.value.response.headers["retry-after"] == "1"


def test_an_error_in_the_middle_of_a_stream_raises_in_openais_library(client: Any) -> None:
    openai = pytest.importorskip("openai")
    stream = client.chat.completions.create(model="moa:cut", messages=ASK, stream=True)
    with pytest.raises(openai.APIError, match="the stream was cut"):
        for _ in stream:
            pass


def test_langchain_answers_streams_and_calls_tools(served: Served, http_client: Any) -> None:
    module = pytest.importorskip("langchain_openai")
    model = module.ChatOpenAI(
        model="moa:duo",
        base_url=f"{served.url}/v1",
        api_key="none",
        max_retries=0,
        stream_usage=True,
        http_client=http_client,
    )
    assert model.invoke("Which colour?").content == "purple it is"
    pieces = list(model.stream("Which colour?"))
    assert "".join(piece.content for piece in pieces) == "purple it is"
    assert sum(piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata) == 5

    from langchain_core.messages import HumanMessage, ToolMessage

    bound = model.bind_tools([TOOL])
    turns: list[Any] = [HumanMessage("Which colour?")]
    turns.append(bound.invoke(turns))
    (call,) = turns[-1].tool_calls
    assert (call["name"], call["args"]) == ("look", {"at": "sky"})
    turns.append(ToolMessage("grey", tool_call_id=call["id"]))
    assert bound.invoke(turns).content == "it is grey"


def test_langchain_answers_over_responses(served: Served, http_client: Any) -> None:
    module = pytest.importorskip("langchain_openai")
    model = module.ChatOpenAI(
        model="moa:duo",
        base_url=f"{served.url}/v1",
        api_key="none",
        max_retries=0,
        use_responses_api=True,
        http_client=http_client,
    )
    assert model.invoke("Which colour?").text == "purple it is"
    assert "".join(piece.text for piece in model.stream("Which colour?")) == "purple it is"


@pytest.mark.parametrize("form", ["OpenAIChatModel", "OpenAIResponsesModel"])
async def test_pydantic_ai_answers_streams_and_calls_tools(served: Served, form: str) -> None:
    openai = pytest.importorskip("openai")
    pydantic_ai = pytest.importorskip("pydantic_ai")
    models = pytest.importorskip("pydantic_ai.models.openai")
    providers = pytest.importorskip("pydantic_ai.providers.openai")
    looked: list[str] = []

    def look(at: str) -> str:
        """Look somewhere."""
        looked.append(at)
        return "grey"

    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
        model = getattr(models, form)("moa:duo", provider=providers.OpenAIProvider(openai_client=client))
        agent = pydantic_ai.Agent(model)
        assert (await agent.run("Which colour?")).output == "purple it is"
        async with agent.run_stream("Which colour?") as streamed:
            assert await streamed.get_output() == "purple it is"
        parts = [part for message in streamed.all_messages() for part in message.parts]
        assert "red" in "".join(part.content for part in parts if part.part_kind == "thinking")
        answer = await pydantic_ai.Agent(model, tools=[look]).run("Which colour?")
    assert (answer.output, looked) == ("it is grey", ["sky"])


def test_llm_answers_on_the_command_line(served: Served, tmp_path: Path) -> None:
    pytest.importorskip("llm")
    command = shutil.which("llm", path=str(Path(sys.executable).parent))
    assert command
    models = f'- model_id: duo\n  model_name: "moa:duo"\n  api_base: "{served.url}/v1"\n'
    (tmp_path / "extra-openai-models.yaml").write_text(models, "utf-8")
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    for options in ([], ["--no-stream"]):
        result = subprocess.run(
            [command, "-m", "duo", *options, "Which colour?"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert result.stdout.strip().endswith("purple it is")


def test_llama_index_answers_and_streams(served: Served) -> None:
    module = pytest.importorskip("llama_index.llms.openai_like")
    from llama_index.core.llms import ChatMessage

    model = module.OpenAILike(
        model="moa:duo",
        api_base=f"{served.url}/v1",
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
    )
    turns = [ChatMessage(role="user", content="Which colour?")]
    assert model.chat(turns).message.content == "purple it is"
    assert "".join(piece.delta or "" for piece in model.stream_chat(turns)) == "purple it is"
    plain = module.OpenAILike(model="moa:duo", api_base=f"{served.url}/v1", api_key="none", is_chat_model=False)
    assert plain.complete("Which colour?").text == "purple it is"
