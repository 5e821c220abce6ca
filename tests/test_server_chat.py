"""OpenAI's chat completions, as the bytes on the wire say."""

from __future__ import annotations

from server import serving


def test_a_mixture_answers_as_a_model() -> None:
    with serving() as (served, _):
        answer = served.post("/v1/chat/completions", {"model": "moa:duo", "messages": [USER]})
    assert answer.status == 200
    assert answer.json["choices"][0]["message"] == {"role": "assistant", "content": "purple it is"}


USER = {"role": "user", "content": "Which colour?"}
