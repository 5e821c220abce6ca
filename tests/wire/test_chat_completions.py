"""OpenAI's JSON to and from our values, with what upstreams really send and what they should not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from moa import BadReply, CallSpec, ContextOverflow, Message, ModelError, Request, Response, Run, Span, Usage
from moa.wire.chat_completions import Draft, error_from_json, request_to_json, response_from_json, usage_from_json

REQUEST = Request((Message("user", "Which colour?"),))
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def completion(message: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE, **more}


def chunk(delta: Any, finish_reason: Any = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **more}


def drafted(*chunks: Any, done: bool = True) -> Response:
    draft, span = Draft("m"), Span(Run(), None, CallSpec("root"), "m")
    for one in chunks:
        draft.add(one)
        draft.emit(span)
    return draft.close(done, REQUEST)


def whole(body: Any) -> Response:
    return response_from_json(body, REQUEST, "m")


# --- requests ---------------------------------------------------------------------------------------------------------


def test_options_left_open_are_not_sent() -> None:
    assert request_to_json(REQUEST, "m") == {"model": "m", "messages": [{"role": "user", "content": "Which colour?"}]}


def test_every_option_is_sent_and_what_only_some_servers_know_as_it_is() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    request = Request(
        (
            Message("system", "Be brief."),
            Message("user", ({"type": "text", "text": "What is it?"}, picture), name="ann"),
            Message("assistant", tool_calls=(call,)),
            Message("tool", "a cat", tool_call_id="1"),
        ),
        temperature=0.0,
        top_p=0.9,
        max_tokens=7,
        seed=0,
        stop=("end",),
        tools=({"type": "function"},),
        tool_choice="auto",
        response_format={"type": "json_object"},
        extra={"top_k": 5},
    )
    assert request_to_json(request, "m") == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture], "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "a cat", "tool_call_id": "1"},
        ],
        "temperature": 0.0,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 0,
        "stop": ["end"],
        "tools": [{"type": "function"}],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "top_k": 5,
    }


# --- whole replies ----------------------------------------------------------------------------------------------------


def test_a_whole_reply_is_read() -> None:
    reply = whole(completion({"content": "red", "reasoning_content": "hmm"}))
    assert reply == Response("m", "red", Usage(3, 2), reasoning="hmm")


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thinking_is_read_under_either_name(name: str) -> None:
    assert whole(completion({"content": "red", name: "hmm"})).reasoning == "hmm"
    assert drafted(chunk({name: "hm"}), chunk({name: "m"}), chunk({"content": "red"})).reasoning == "hmm"


def test_thinking_sent_under_both_names_is_not_doubled() -> None:
    both = {"reasoning": "hmm", "reasoning_content": "hmm"}
    assert whole(completion({"content": "red", **both})).reasoning == "hmm"
    assert drafted(chunk(both), chunk({"content": "red"})).reasoning == "hmm"


def test_content_in_parts_is_read_without_what_is_no_text() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "re"}, {"type": "text", "text": "d"}]
    assert whole(completion({"content": parts})).text == "red"
    assert drafted(chunk({"content": parts})).text == "red"


@pytest.mark.parametrize("content", [7, {"text": "red"}, ["red"], True])
def test_content_that_is_not_text_is_a_bad_reply(content: Any) -> None:
    for read in (lambda: whole(completion({"content": content})), lambda: drafted(chunk({"content": content}))):
        with pytest.raises(BadReply, match="m: the content of the reply is not text"):
            read()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"choices": []}, "m: the reply has no choices: {'choices': []}; retry, or choose another model"),
        ({}, "m: the reply has no choices: {}; retry, or choose another model"),
        ([], "m: the reply has no choices: []; retry, or choose another model"),
        (None, "m: the reply has no choices: None; retry, or choose another model"),
        ({"choices": None}, "m: the reply has no choices: {'choices': None}; retry, or choose another model"),
        (
            {"choices": [{}]},
            "m: the reply has a choice without a message: {'choices': [{}]}; retry, or choose another model",
        ),
        (completion({"content": None}), "m: the reply is empty; retry, or choose another model"),
        (completion({"content": " \n"}), "m: the reply is empty; retry, or choose another model"),
        (completion({}), "m: the reply is empty; retry, or choose another model"),
        (
            completion({"content": None, "reasoning": "hmm"}),
            "m: the reply is empty; it has reasoning only, so max_tokens may be too small",
        ),
        (
            {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]},
            "m: the reply is empty (finish_reason 'content_filter'); retry, or choose another model",
        ),
    ],
)
def test_a_reply_without_an_answer_says_what_was_there_instead(body: Any, words: str) -> None:
    with pytest.raises(BadReply) as caught:
        whole(body)
    assert (str(caught.value), caught.value.model) == (words, "m")


def test_an_error_inside_a_reply_with_status_200_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"^m: overloaded$"):
        whole({"error": {"message": "overloaded"}})
    with pytest.raises(ModelError, match=r"^m: overloaded$"):
        whole({"choices": [{"error": {"message": "overloaded"}, "message": {"content": "re"}}]})


def test_a_null_error_beside_an_answer_is_none() -> None:
    assert whole(completion({"content": "red"}, error=None)).text == "red"


# --- streamed replies -------------------------------------------------------------------------------------------------


def test_usage_inline_on_the_last_chunk_is_read() -> None:
    assert drafted(chunk({"content": "red"}), chunk({}, "stop", usage=USAGE)).usage == Usage(3, 2)


def test_usage_in_a_chunk_of_its_own_is_read() -> None:
    last = {"choices": [], "usage": USAGE}
    assert drafted(chunk({"content": "red"}), chunk({}, "stop"), last).usage == Usage(3, 2)


def test_usage_that_grows_with_every_chunk_is_not_summed() -> None:
    first = {**USAGE, "completion_tokens": 1, "total_tokens": 4}
    assert drafted(chunk({"content": "r"}, usage=first), chunk({"content": "ed"}, "stop", usage=USAGE)).usage == Usage(
        3, 2
    )


def test_usage_that_never_comes_is_estimated_and_says_so() -> None:
    assert drafted(chunk({"content": "red"}, "stop")).usage == Usage(4, 1, estimated=True)
    assert whole({"choices": [{"message": {"content": "red"}}]}).usage == Usage(4, 1, estimated=True)


def test_a_finish_reason_is_kept_and_done_without_one_is_a_stop() -> None:
    assert drafted(chunk({"content": "red"}, "length")).finish_reason == "length"
    assert drafted(chunk({"content": "red"})).finish_reason == "stop"


def test_an_unrequested_second_choice_is_not_mixed_in() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "blue"}}]}
    assert drafted(chunk({"content": "red"}), other).text == "red"


def test_tool_calls_are_put_together_from_their_pieces() -> None:
    def piece(index: int, **function: str) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": index, "id": f"call{index}", "function": function}]})

    reply = drafted(piece(0, name="look", arguments='{"a"'), piece(1, name="go"), piece(0, arguments=": 1}"))
    assert reply.tool_calls == (
        {"id": "call0", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}},
        {"id": "call1", "type": "function", "function": {"name": "go", "arguments": ""}},
    )


# --- malformed replies ------------------------------------------------------------------------------------------------

FULL = {
    "content": "red",
    "reasoning": "hmm",
    "tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
DETAILS = {**USAGE, "prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 1}}
LOGPROBS = {"content": [{"token": "red", "logprob": -0.1}]}


def bent(value: Any) -> Iterator[Any]:
    """Yield the value with each of its parts, in turn, replaced or removed."""
    yield from (None, True, 7, -7, 1.5, "x", [], {}, [None], [7], ["x"], [[]], [{}], {"x": 1})
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: other} for other in bent(value[key]))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from ([*value[:place], other, *value[place + 1 :]] for other in bent(one))


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (whole, {"choices": [{"index": 0, "message": FULL, "logprobs": LOGPROBS}], "usage": DETAILS}),
        (drafted, {"choices": [{"index": 0, "delta": FULL, "logprobs": LOGPROBS}], "usage": DETAILS}),
        (whole, {"error": {"message": "no", "code": 1, "type": "t", "n_ctx": 5, "metadata": {"raw": "why"}}}),
        (whole, [{"error": {"message": "maximum context length is 4096 tokens", "detail": "x"}}]),
    ],
    ids=["whole", "streamed", "error", "error in a list"],
)
def test_whatever_json_arrives_it_is_an_answer_or_a_model_error_never_a_bug(read: Any, body: Any) -> None:
    for other in bent(body):
        before = copy.deepcopy(other)
        try:
            reply = read(other)
        except ModelError as error:
            assert str(error).startswith("m: "), other
            assert "\n" not in str(error), other
        else:
            assert isinstance(reply.text, str), other
            assert isinstance(reply.usage.input_tokens, int), other
        assert other == before


# --- usage ------------------------------------------------------------------------------------------------------------


def test_cached_and_thinking_tokens_are_parts_of_the_count() -> None:
    assert usage_from_json(DETAILS) == Usage(3, 2, cached_tokens=1, reasoning_tokens=1)


def test_thinking_counted_only_in_the_total_is_output_all_the_same() -> None:
    assert usage_from_json({"prompt_tokens": 8, "completion_tokens": 10, "total_tokens": 118}) == Usage(8, 110)


@pytest.mark.parametrize("usage", [None, {}, [], {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": "3"}])
def test_a_count_that_is_none_is_not_taken_for_one(usage: Any) -> None:
    assert usage_from_json(usage) is None


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no such\n  model"}}, "m: no such model"),
        ({"error": "model 'm' not found"}, "m: model 'm' not found"),
        ({"message": "no", "object": "error", "code": 404}, "m: no"),
        ({"detail": "Not Found"}, "m: Not Found"),
        ({"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}, "m: model: m"),
        ([{"error": {"code": 404, "message": "m is not found", "status": "NOT_FOUND"}}], "m: m is not found"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "no quota"}}},
            "m: Provider returned error no quota",
        ),
        ("plain words", "m: plain words"),
        ({"error": {}}, "m: {'error': {}}"),
    ],
)
def test_an_error_is_found_wherever_a_provider_puts_it(body: Any, words: str) -> None:
    assert str(error_from_json(body, "m")) == words


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (404, False), (408, True), (422, False), (429, True), (500, True), (503, True)],
)
def test_asking_again_may_help_where_the_status_says_so(status: int, retryable: bool) -> None:
    error = error_from_json({"error": {"message": "no", "code": "some_code"}}, "m", status)
    assert (error.status, error.retryable) == (status, retryable)


def test_asking_again_does_not_help_against_an_empty_account() -> None:
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    assert not error_from_json(body, "m", 429).retryable


OVERFLOWS = [
    # OpenAI
    (
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens. "
        "Please reduce the length of the messages.",
        4097,
    ),
    ("Your input exceeds the context window of this model. Please adjust your input and try again.", None),
    # vLLM
    (
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4488 in the "
        "messages, 512 in the completion). Please reduce the length of the messages or completion.",
        4096,
    ),
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 "
        "tokens and your request has 20 input tokens (5000 > 4096 - 20).",
        4096,
    ),
    ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 4096),
    # llama.cpp
    ("request (67311 tokens) exceeds the available context size (65536 tokens), try increasing it", 65536),
    # Ollama
    ("prompt too long; exceeded max context length by 123 tokens", None),
    ("the input length exceeds the context length", None),
    # Anthropic
    ("prompt is too long: 213462 tokens > 200000 maximum", 200000),
    (
        "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease input length or "
        "`max_tokens` and try again",
        200000,
    ),
    # Together
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 `inputs` tokens and "
        "512 `max_new_tokens`",
        4097,
    ),
    ("The input (516368 tokens) is longer than the model's context length (262144 tokens).", 262144),
    # SGLang
    ("Requested token count exceeds the model's maximum context length of 131072 tokens.", 131072),
    # LM Studio
    (
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context "
        "length of only 4096 tokens, which is not enough.",
        4096,
    ),
    # Mistral
    ("Prompt contains 240000 tokens, too large for model with 128000 maximum context length", 128000),
    # Gemini
    ("The input token count (1196265) exceeds the maximum number of tokens allowed (1048576).", 1048576),
    # xAI
    ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.", 131072),
    # OpenRouter
    ("This endpoint's maximum context length is 32,768 tokens. However, you requested about 42,832 tokens.", 32768),
    # Groq
    ("Please reduce the length of the messages or completion.", None),
    # Cerebras
    ("Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192", 8192),
]


@pytest.mark.parametrize(("words", "window"), OVERFLOWS)
def test_a_prompt_that_is_too_long_is_known_by_the_words_of_every_server(words: str, window: int | None) -> None:
    error = error_from_json({"error": {"message": words, "type": "BadRequestError", "code": 400}}, "m", 400)
    assert isinstance(error, ContextOverflow)
    assert (str(error), error.model, error.window) == (f"m: {words}", "m", window)


@pytest.mark.parametrize(
    "reported",
    [
        {"message": "too long", "code": "context_length_exceeded"},
        {"message": "too long", "type": "exceed_context_size_error", "code": 400, "n_prompt_tokens": 9, "n_ctx": 4096},
    ],
)
def test_a_prompt_that_is_too_long_is_known_by_its_code(reported: Any) -> None:
    error = error_from_json({"error": reported}, "m", 400)
    assert isinstance(error, ContextOverflow)
    assert error.window == reported.get("n_ctx")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("Rate limit reached for m on tokens per min (TPM): Limit 30000, Requested 40000.", 429),
        ("The context length of your plan is rate limited", 429),
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", 400),
        ("max_tokens is too large: 100000. This model supports at most 16384 completion tokens.", 400),
    ],
)
def test_other_refusals_are_not_taken_for_a_prompt_that_is_too_long(words: str, status: int) -> None:
    assert not isinstance(error_from_json({"error": {"message": words}}, "m", status), ContextOverflow)


def test_a_models_name_does_not_make_its_errors_overflows() -> None:
    assert not isinstance(error_from_json({"error": {"message": "no"}}, "lab:context window", 400), ContextOverflow)
