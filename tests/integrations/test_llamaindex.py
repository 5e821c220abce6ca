"""LlamaIndex: a mixture as its LLM, its LLMs as proposers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import moa
from helpers.server import TOML, Served, serving
from helpers.upstream import Reply
from moa import Layer, Message, Mixture, ModelError, Request, RequestError, Response, Scripted, Synthesize, Usage
from moa.costs.prices import Price
from moa.model import Model
from moa.notes import OptionsDropped

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import (
    ChatMessage,
    CompletionResponse,
    ImageBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.custom import CustomLLM

from moa.integrations.llamaindex import LlamaIndexModel, MixtureLLM
from moa.integrations.llamaindex.messages import from_llamaindex, to_llamaindex

pytestmark = pytest.mark.clients

QUESTION = "Which colour?"
ASKED = [ChatMessage(QUESTION)]
REQUEST = Request((Message("user", QUESTION),))
PROPOSALS = "[a]\nred\n\n[b]\nblue\n\n"


def panel(*proposers: Model, aggregator: Model | None = None) -> Mixture:
    judge = aggregator or Scripted("judge", "purple it is", usage=Usage(7, 3, 0.5))
    asked = proposers or (
        Scripted("a", "red", usage=Usage(2, 1, 0.25), context_window=4096),
        Scripted("b", "blue", delay=0.05, usage=Usage(2, 1, 0.25)),
    )
    return Mixture([Layer(asked)], Synthesize(judge), "moa:panel")


def test_a_mixture_completes_a_prompt_and_tells_its_run() -> None:
    completion = MixtureLLM(panel()).complete(QUESTION)
    assert completion.text == "purple it is"
    run = completion.additional_kwargs
    assert [(one["model"], one["text"]) for one in run["references"]] == [("a", "red"), ("b", "blue")]
    assert run["usage"] == {"input_tokens": 11, "output_tokens": 5, "cost": 1.0}
    assert completion.raw == {"usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}}


async def test_all_ways_of_asking_give_the_same_answer() -> None:
    llm = MixtureLLM(panel())
    assert llm.chat(ASKED).message.content == "purple it is"
    assert (await llm.achat(ASKED)).message.content == "purple it is"
    assert (await llm.acomplete(QUESTION)).text == "purple it is"
    streamed = [
        list(llm.stream_complete(QUESTION)),
        list(llm.stream_chat(ASKED)),
        [part async for part in await llm.astream_complete(QUESTION)],
        [part async for part in await llm.astream_chat(ASKED)],
    ]
    for parts in streamed:
        assert "".join(part.delta or "" for part in parts) == "purple it is"
        assert "".join(part.additional_kwargs["thinking_delta"] or "" for part in parts) == PROPOSALS
        assert parts[-1].additional_kwargs["usage"]["cost"] == 1.0


def test_a_stream_ends_with_the_whole_message() -> None:
    *_, last = MixtureLLM(panel()).stream_chat(ASKED)
    assert last.message.blocks == [ThinkingBlock(content=PROPOSALS), TextBlock(text="purple it is")]


def test_leaving_a_stream_early_cancels_what_makes_it() -> None:
    parts = MixtureLLM(panel(Scripted("a", "one two three", pace=60))).stream_chat(ASKED)
    assert next(parts).additional_kwargs["thinking_delta"] == "[a]\none "
    parts.close()


def test_a_mixture_is_known_by_its_name_in_the_configuration(tmp_path: Path) -> None:
    with serving() as (_, upstream):
        config = tmp_path / "moa.toml"
        config.write_text(
            f'[providers.up]\nbase_url = "{upstream.url}"\n'
            '[mixtures.duo]\nproposers = ["up:a", "up:b"]\naggregator = "up:judge"\n'
        )
        llm = MixtureLLM("duo", config=str(config))
        assert llm.complete(QUESTION).text == "purple it is"
    assert (llm.model, llm.metadata.model_name) == ("moa:duo", "moa:duo")


def test_its_context_window_is_the_smallest_among_its_members() -> None:
    assert MixtureLLM(panel()).metadata.context_window == 4096


def test_options_go_to_the_aggregator_those_of_the_question_first() -> None:
    judge = Scripted("judge", "purple")
    llm = MixtureLLM(panel(aggregator=judge), temperature=0.5, max_tokens=9)
    llm.complete(QUESTION, temperature=0.1, stop=["END"])
    (received,) = judge.requests
    assert (received.temperature, received.max_tokens, received.stop) == (0.1, 9, ("END",))
    with pytest.raises(RequestError, match="'colour'"):
        llm.complete(QUESTION, colour="red")


def test_a_failure_is_raised_as_it_is() -> None:
    failing = panel(Scripted("a", ModelError("no")), aggregator=Scripted("judge", "purple"))
    with pytest.raises(moa.LayerError):
        MixtureLLM(failing).complete(QUESTION)
    with pytest.raises(moa.LayerError):
        list(MixtureLLM(failing).stream_complete(QUESTION))


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


def test_tool_calls_are_blocks() -> None:
    calling = Scripted("judge", Response("judge", "", tool_calls=(CALL,)))
    message = MixtureLLM(panel(aggregator=calling)).chat(ASKED).message
    assert message.blocks[-1] == ToolCallBlock(tool_call_id="c1", tool_name="weather", tool_kwargs={"city": "Oslo"})


@pytest.mark.parametrize(
    "message",
    [
        Message("system", "Be brief."),
        Message("user", ({"type": "text", "text": "this"}, {"type": "image_url", "image_url": {"url": "http://x/a"}})),
        Message("assistant", "hm", tool_calls=(CALL,)),
        Message("tool", "rain", tool_call_id="c1"),
    ],
)
def test_a_message_goes_to_llamaindex_and_back(message: Message) -> None:
    assert from_llamaindex(to_llamaindex(message)) == message


def test_an_image_is_handed_over_and_a_thought_is_not() -> None:
    pixel = b"\x89PNG\r\n\x1a\n" + bytes(8)
    message = from_llamaindex(
        ChatMessage(
            role=MessageRole.USER,
            blocks=[ThinkingBlock(content="hm"), ImageBlock(image=pixel, image_mimetype="image/png")],
        )
    )
    (part,) = message.content
    assert isinstance(part, dict)
    assert part["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


class Blocking(CustomLLM):
    """An LLM without asynchronous methods."""

    says: Callable[[str], str]

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="blocking")

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.says(prompt))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


async def test_any_llm_is_a_proposer() -> None:
    proposer = LlamaIndexModel(Blocking(says=lambda prompt: "green"), "blocking")
    judge = Scripted("judge", "purple")
    answer = await moa.generate(panel(proposer, aggregator=judge), REQUEST, words="all")
    assert [(one.model, one.text, one.usage.estimated) for one in answer.references] == [("blocking", "green", True)]
    assert "green" in judge.requests[0].messages[0].text


async def test_blocking_llms_are_asked_side_by_side() -> None:
    together = threading.Barrier(2, timeout=30)  # passes only when both are being asked

    def says(prompt: str) -> str:
        together.wait()
        return "green"

    proposers = [LlamaIndexModel(Blocking(says=says), name) for name in ("a", "b")]
    answer = await moa.generate(panel(*proposers), REQUEST)
    assert [one.model for one in answer.references] == ["a", "b"]


async def test_what_an_llm_raises_is_a_lost_proposal() -> None:
    def says(prompt: str) -> str:
        raise ValueError("out of order")

    broken = LlamaIndexModel(Blocking(says=says), "broken")
    trace = moa.Trace()
    answer = await moa.generate(panel(broken, Scripted("b", "blue")), REQUEST, trace.add)
    assert answer.text == "purple it is"
    assert [str(one) for one in trace.lost] == ["broken: ValueError: out of order"]


@contextmanager
def ollama(served: Served, model: str = "duo", **options: Any) -> Iterator[Any]:
    """Yield LlamaIndex's LLM for Ollama, with this server."""
    llms = pytest.importorskip("llama_index.llms.ollama")
    llm = llms.Ollama(model, base_url=served.url, context_window=4096, **options)
    yield llm
    llm.client.close()


async def test_an_llm_over_the_network_streams_counts_and_ends_as_it_says() -> None:
    received: list[tuple[str, str]] = []

    def listen(event: moa.Event) -> None:
        if isinstance(event, moa.TextDelta):
            received.append((event.kind, event.text))

    says = {"a": "red", "b": "blue", "judge": Reply("purple it is", finish_reason="length")}
    with serving(says, TOML + "guard = false\n") as (served, _), ollama(served, thinking=True) as llm:
        model = LlamaIndexModel(llm, price=Price(1e6, 1e6))
        whole = await moa.generate(model, REQUEST)
        streamed = await moa.generate(model, REQUEST, listen, words="all")
        await llm.async_client.close()
    for answer in (whole, streamed):
        assert (answer.model, answer.text, answer.finish_reason) == ("duo", "purple it is", "length")
        assert answer.reasoning == "[up:a]\nred\n\n[up:b]\nblue\n\n" or answer.reasoning.startswith("[up:b]")
        assert answer.usage.output_tokens == 5
        assert answer.usage.cost == answer.usage.input_tokens + 5
    assert "".join(text for kind, text in received if kind == "text") == "purple it is"
    assert "".join(text for kind, text in received if kind == "reasoning") == streamed.reasoning


async def test_what_its_server_refuses_says_whether_to_ask_again() -> None:
    with serving() as (served, _), ollama(served, "nobody") as llm:
        with pytest.raises(ModelError, match="nobody: ResponseError") as caught:
            await moa.generate(LlamaIndexModel(llm), REQUEST)
        await llm.async_client.close()
    assert (caught.value.status, caught.value.retryable) == (404, False)


async def test_options_that_an_llm_does_not_take_are_said() -> None:
    trace = moa.Trace()
    model = LlamaIndexModel(Blocking(says=lambda prompt: "green"), "blocking", options=("temperature",))
    await moa.generate(model, Request(REQUEST.messages, temperature=0.5, seed=7), trace.add)
    assert trace.root
    assert [note.data for note in trace.root.notes] == [OptionsDropped(("seed",))]


@pytest.mark.slow
@pytest.mark.embedded
def test_the_example_answers_both_questions_both_ways() -> None:
    example = Path(__file__).parents[2] / "examples" / "llamaindex_ollama.py"
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, timeout=300, check=True)
    sections = done.stdout.split("\n=== ")[1:]
    questions = ["How to reduce anger in Python?", "How to be a good generative AI engineer?"] * 2
    assert [one.partition("\n")[0].partition("?")[0].split(": ")[-1] + "?" for one in sections] == questions
    assert all(len(one.partition("?")[2].split()) > 5 for one in sections)
