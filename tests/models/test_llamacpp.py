"""llama.cpp in this process: real answers of a real, small model, and what goes wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from helpers.embedded import MODEL, ask
from moa.errors import BadReply, ConfigError, ContextOverflow, ModelError
from moa.events import Event, TextDelta
from moa.models.llamacpp.model import LlamaCpp
from moa.models.llamacpp.weights import SMOLLM2
from moa.span import generate
from moa.streaming import stream
from moa.types import Message, Request


@pytest.mark.embedded
async def test_an_answer_has_its_words_its_tokens_and_costs_nothing() -> None:
    answer = await generate(MODEL, ask(max_tokens=5))

    assert answer.model == "local:smollm2"
    assert answer.text.startswith("Hello")
    assert (answer.usage.output_tokens, answer.usage.cost, answer.finish_reason) == (5, 0.0, "length")
    assert answer.usage.input_tokens > 5


@pytest.mark.embedded
async def test_the_words_are_heard_one_by_one_where_somebody_listens() -> None:
    async with stream(MODEL, ask()) as events:
        words = [event.text async for event in events if isinstance(event, TextDelta)]

    assert len(words) > 3
    assert "".join(words) == events.response.text


@pytest.mark.embedded
async def test_nobody_listening_hears_no_words_and_gets_the_same_answer() -> None:
    seen: list[Event] = []
    answer = await generate(MODEL, ask(), seen.append)
    async with stream(MODEL, ask()) as events:
        async for _ in events:
            pass

    assert [event for event in seen if isinstance(event, TextDelta)] == []
    assert answer.text == events.response.text


@pytest.mark.embedded
async def test_a_developer_message_is_read_as_a_system_message() -> None:
    answers = [
        await generate(MODEL, Request((Message(role, "Speak like a pirate."), Message("user", "Hi")), max_tokens=8))
        for role in ("system", "developer")
    ]

    assert answers[1].usage.input_tokens == answers[0].usage.input_tokens


@pytest.mark.embedded
async def test_parts_of_text_are_read_as_their_text() -> None:
    parts = Message("user", ({"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}))

    assert (await generate(MODEL, Request((parts,), max_tokens=8, temperature=0))).text == (
        await generate(MODEL, ask())
    ).text


@pytest.mark.embedded
async def test_options_only_llama_cpp_knows_reach_it() -> None:
    answer = await generate(MODEL, ask(extra={"grammar": 'root ::= "seven"'}))

    assert (answer.text, answer.finish_reason) == ("seven", "stop")


@pytest.mark.embedded
async def test_a_response_format_holds_the_answer_to_its_schema() -> None:
    schema = {"type": "object", "properties": {"sky": {"const": "blue"}}, "required": ["sky"]}
    answer = await generate(
        MODEL,
        ask(max_tokens=40, response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}),
    )

    assert json.loads(answer.text) == {"sky": "blue"}


@pytest.mark.embedded
async def test_an_empty_stop_string_stops_nothing() -> None:
    assert (await generate(MODEL, ask(stop=("",)))).text == (await generate(MODEL, ask())).text


@pytest.mark.embedded
async def test_an_answer_without_a_limit_ends_at_its_share_of_the_context(small: LlamaCpp) -> None:
    answer = await generate(small, ask(max_tokens=None, extra={"ignore_eos": True}))

    assert (answer.usage.output_tokens, answer.finish_reason) == (256 // 3, "length")


@pytest.mark.embedded
async def test_a_prompt_beyond_the_context_says_how_long_it_is(small: LlamaCpp) -> None:
    with pytest.raises(
        ContextOverflow, match=r"small: the prompt has \d+ tokens and the context window 256; "
    ) as failure:
        await generate(small, ask("word " * 600))

    assert (failure.value.window, failure.value.model) == (256, "small")


@pytest.mark.embedded
async def test_an_answer_of_white_space_is_no_answer() -> None:
    with pytest.raises(BadReply, match="empty"):
        await generate(MODEL, ask(extra={"grammar": 'root ::= " "'}))


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extra": {"min_p": "much"}}, "min_p"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "no"}}}}, "JSON schema error"),
    ],
)
async def test_an_option_llama_cpp_cannot_read_fails_the_call_in_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as failure:
        await generate(MODEL, ask(**options))

    assert "\n" not in str(failure.value)
    assert failure.value.model == "local:smollm2"


async def test_a_missing_file_is_named_by_the_check_and_by_the_call(tmp_path: Path) -> None:
    model = LlamaCpp(tmp_path / "gone.gguf", "m")

    with pytest.raises(ModelError, match=r"gone\.gguf: No such file"):
        model.check()
    with pytest.raises(ModelError, match=r"gone\.gguf: No such file"):
        await generate(model, ask())


def test_a_file_that_is_no_gguf_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<html>")

    with pytest.raises(ModelError, match=r"page\.gguf is not a GGUF file"):
        LlamaCpp(tmp_path / "page.gguf", "m").check()


async def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "half.gguf").write_bytes(b"GGUF" + os.urandom(10_000))

    with pytest.raises(ModelError, match=r"half\.gguf: llama\.cpp cannot load it; .*get it again, or name another"):
        await generate(LlamaCpp(tmp_path / "half.gguf", "m"), ask())


@pytest.mark.embedded
async def test_one_file_is_not_loaded_with_two_settings() -> None:
    await generate(MODEL, ask())

    with pytest.raises(ConfigError, match="same settings"):
        await generate(LlamaCpp(SMOLLM2, "other", context=1024), ask())
