"""Models over HTTP: what every failure says, and that none of them says the key."""

from __future__ import annotations

import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

import moa
from helpers.http_client import KEY, REQUEST, at, failed, streaming
from helpers.upstream import Reply, Upstream, event
from moa import BadReply, ContextOverflow, ModelError
from moa.models.openai.errors import failure, seconds
from moa.models.openai.model import OpenAI
from moa.span import StreamMode

# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "lab:m: HTTP 400: no; if it refuses an option, add that to unsupported of the provider"),
        (401, "lab:m: HTTP 401: no; check the key in LAB_KEY"),
        (402, "lab:m: HTTP 402: no"),
        (403, "lab:m: HTTP 403: no; may the key in LAB_KEY use this model?"),
        (404, "lab:m: HTTP 404: no; is 'm' a model of {url}, and is base_url right?"),
        (429, "lab:m: HTTP 429: no; a lower max_concurrency of the provider may help"),
        (500, "lab:m: HTTP 500: no; the upstream failed, so retry later or choose another model"),
        (503, "lab:m: HTTP 503: no; the upstream failed, so retry later or choose another model"),
    ],
)
@pytest.mark.parametrize("watch", ["none", "all"])
async def test_a_refusal_is_one_line_with_the_model_and_what_to_do(
    status: int, words: str, watch: StreamMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)
    with Upstream({"m": Reply("no", status=status)}) as upstream:
        error = await failed(at(upstream, api_key_env="LAB_KEY"), watch)
        assert (str(error), error.status, error.model) == (words.format(url=upstream.url), status, "lab:m")


async def test_a_missing_key_is_suspected_where_none_is_named() -> None:
    for status in (401, 403):
        with Upstream({"m": Reply("no", status=status)}) as upstream:
            assert (
                str(await failed(at(upstream))) == f"lab:m: HTTP {status}: no; set api_key_env to the name of its key"
            )


async def test_a_refusal_in_many_lines_is_one_line_and_no_longer_than_one_reads() -> None:
    with Upstream({"m": Reply("one\ntwo\n" + "x" * 5000, status=402)}) as upstream:
        words = str(await failed(at(upstream)))
    assert words.startswith("lab:m: HTTP 402: one two xxx")
    assert len(words) == 300


async def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    with Upstream({"m": Reply("slow down", status=429, headers={"Retry-After": "7"})}) as upstream:
        error = await failed(at(upstream))
    assert error.retry_after == 7
    assert str(error) == (
        "lab:m: HTTP 429: slow down; it asks to wait 7 s; a lower max_concurrency of the provider may help"
    )
    later = seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert later is not None
    assert 0 < later <= 90
    assert seconds(format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)) == 0


@pytest.mark.parametrize("value", [None, "", "soon", "nan", "-5", "Mon, 99 Foo 2026", "Mon, 01 Jan 2026 00:00:00"])
def test_a_retry_after_that_means_nothing_is_no_wait(value: str | None) -> None:
    assert not seconds(value)


PAGE = b"<!DOCTYPE html>\n<html><head><title>Bad\n Gateway</title></head><body>nginx</body></html>"


async def test_a_page_instead_of_json_is_named_with_status_502() -> None:
    with Upstream({"m": Reply(status=502, raw=PAGE, headers={"Content-Type": "text/html"})}) as upstream:
        error = await failed(at(upstream))
    assert error.retryable
    assert str(error) == (
        "lab:m: HTTP 502: an HTML page, 'Bad Gateway'; the upstream failed, so retry later or choose another model"
    )


@pytest.mark.parametrize("words", ["none", "all"])
async def test_a_page_instead_of_json_is_named_with_status_200(words: StreamMode) -> None:
    with Upstream({"m": Reply(raw=PAGE, headers={"Content-Type": "text/html"})}) as upstream:
        error = await failed(at(upstream), words)
        assert isinstance(error, BadReply)
        assert str(error) == (
            f"lab:m: the reply is not JSON but an HTML page, 'Bad Gateway'; is {upstream.url} the right base_url? "
            "It usually ends in /v1"
        )


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "lab:m: the reply is not JSON but ''; retry, or choose another model"),
        (b"\xff\xfe", "lab:m: the reply is not JSON but '��'; retry, or choose another model"),
        (b"[]", "lab:m: the reply has no choices: []; retry, or choose another model"),
        (b'{"choices": []}', "lab:m: the reply has no choices: {'choices': []}; retry, or choose another model"),
        (
            b'{"choices": [{"message": {"content": null}}]}',
            "lab:m: the reply is empty; retry, or choose another model",
        ),
        (b'{"choices": [{"message": {"content": 7}}]}', "lab:m: the content of the reply is not text: 7"),
        (b'{"choices": [{"message": {"content": "\\ud800"}}]}', None),
    ],
)
@pytest.mark.parametrize("watch", ["none", "all"])
async def test_a_reply_that_is_no_answer_is_a_bad_reply(raw: bytes, words: str | None, watch: StreamMode) -> None:
    with Upstream({"m": Reply(raw=raw, headers={"Content-Type": "application/json"})}) as upstream:
        error = await failed(at(upstream), watch)
    assert isinstance(error, BadReply)
    assert words is None or str(error) == words


async def test_a_refusal_without_a_word_says_so() -> None:
    with Upstream({"m": Reply(status=402, raw=b"")}) as upstream:
        assert str(await failed(at(upstream))) == "lab:m: HTTP 402: no reason given"


async def test_a_prompt_that_is_too_long_says_so_with_the_window() -> None:
    words = "This model's maximum context length is 4096 tokens"
    with Upstream({"m": Reply(f"{words}.", status=400)}) as upstream:
        error = await failed(at(upstream))
    assert isinstance(error, ContextOverflow)
    assert (error.window, error.status) == (4096, 400)
    assert str(error) == f"lab:m: HTTP 400: {words}; shorten the prompt, or choose a model with a larger context window"


async def test_a_redirect_is_not_followed_and_says_where_it_points() -> None:
    with Upstream({"m": "red"}) as there:
        headers = {"Location": f"{there.url}/chat/completions"}
        with Upstream({"m": Reply(status=308, raw=b"", headers=headers)}) as here:
            error = await failed(at(here))
        assert str(error) == f"lab:m: HTTP 308: redirects are not followed; put its address into base_url: {there.url}"
        assert there.calls == []


# --- no upstream ------------------------------------------------------------------------------------------------------


async def test_a_closed_port_asks_whether_the_server_is_running() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        error = await failed(OpenAI("m", url, "lab:m"))
    assert error.retryable
    assert str(error) == (
        f"lab:m: cannot reach {url} (Connection refused); is the server running, and is base_url right?"
    )


async def test_a_host_that_nobody_knows_is_named() -> None:
    error = await failed(OpenAI("m", "http://no-such-host.invalid/v1", "lab:m"))
    assert str(error) == (
        "lab:m: cannot find the host no-such-host.invalid; is base_url right, and is there a network?"
    )


async def test_https_to_a_server_that_speaks_http_says_so() -> None:
    with Upstream({"m": "red"}) as upstream:
        url = upstream.url.replace("http:", "https:")
        error = await failed(OpenAI("m", url, "lab:m"))
    assert not error.retryable
    assert str(error).startswith(f"lab:m: no secure connection to {url} (")
    assert str(error).endswith("; is it http rather than https?")


def test_a_certificate_that_is_not_trusted_names_the_way_to_trust_it() -> None:
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "self-signed certificate"
    key: Any = SimpleNamespace(host="lab.example", port=443, is_ssl=True, ssl=True)
    error = aiohttp.ClientConnectorCertificateError(key, refused)
    words, kind, retryable = failure(error, "https://lab.example/v1", 1)
    assert (kind, retryable) == (ModelError, False)
    assert words == (
        "the certificate of lab.example is not trusted (self-signed certificate); "
        "to trust it, set SSL_CERT_FILE to its authority's certificate"
    )


# --- the key is never shown -------------------------------------------------------------------------------------------


LEAKS = {
    "refusal": Reply(f"Incorrect API key provided: {KEY}", status=401),
    "refusal, cut where the key stands": Reply("x" * 270 + KEY, status=401),
    "page": Reply(status=500, raw=f"<html><title>{KEY}</title></html>".encode()),
    "text": Reply(status=500, raw=f"bad key {KEY}".encode()),
    "no json": Reply(raw=f"bad key {KEY}".encode()),
    "no choices": Reply(raw=json.dumps({"key": KEY}).encode()),
    "no text": Reply(raw=json.dumps({"choices": [{"message": {"content": {"key": KEY}}}]}).encode()),
    "error in 200": Reply(raw=json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()),
    "error in the stream": streaming(event({"error": {"message": f"bad key {KEY}"}})),
    "chunk": streaming(event([KEY])),
    "overflow": Reply(f"context length of {KEY}", status=400),
    "redirect": Reply(status=302, raw=b"", headers={"Location": f"http://elsewhere.invalid/{KEY}"}),
}


@pytest.mark.parametrize("reply", LEAKS.values(), ids=LEAKS.keys())
@pytest.mark.parametrize("watch", ["none", "all"])
async def test_an_upstream_that_repeats_the_key_does_not_make_us_repeat_it(
    reply: Reply, watch: StreamMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)
    events: list[moa.Event] = []
    trace = moa.Trace()
    with Upstream({"m": reply, "n": "blue"}) as upstream:
        model = at(upstream, api_key_env="LAB_KEY")
        layer = moa.Layer((model, at(upstream, "n")))
        mixture = moa.Mixture((layer,), moa.Synthesize(at(upstream, "n")))
        answer = await moa.generate(mixture, REQUEST, lambda one: (events.append(one), trace.add(one))[0], watch)
        error = await failed(model, watch)
    everything = (
        repr((error, str(error), events, trace.lost, trace.summary(answer)))
        + b"".join(moa.events.to_json(one) for one in events).decode()
    )
    assert KEY[:12] not in everything
