"""The log of the server: a line per request, as text or JSON, without any text of a question or an answer."""

from __future__ import annotations

import http.client
import json
import logging
import sys
from datetime import datetime
from typing import Any

import pytest

from helpers.command import until
from helpers.serve import process
from helpers.server import TOML
from helpers.upstream import Reply, Upstream
from moa.server.errors import problem
from moa.server.middleware.request_log import RequestLogEntry
from moa.server.ops.logs import JSON, Text

ASK = {"model": "moa:duo", "messages": [{"role": "user", "content": "Which colour is heliotrope?"}]}
SECRET = "sk-0123456789abcdef"
"""The key of a client, and of the upstream."""
SAYS = {"a": "crimson", "b": Reply(f"cobalt {SECRET}", status=400), "judge": Reply(raw=b"<html>teal</html>")}
CHAT = "/v1/chat/completions"
LAST = {"text": "POST - 404", "json": '"route": "-", "status": 404'}
"""In the line of a request to no route."""
WORDS = ("heliotrope", "crimson", "cobalt", "teal", SECRET)


def record(message: str, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("moa.server", logging.INFO, "f.py", 1, message, (), more.pop("exc_info", None))
    made.__dict__.update(more)
    return made


def raised() -> Any:
    try:
        raise KeyError("heliotrope")
    except KeyError:
        return sys.exc_info()


def test_a_request_is_one_object_of_json() -> None:
    entry = RequestLogEntry("POST", "/v1/chat/completions", 200, "moa:duo", "0123", "anna", seconds=1.23456)
    result = json.loads(JSON().format(record("POST ...", entry=entry)))
    assert datetime.fromisoformat(result.pop("time")).tzinfo is not None
    assert result == {
        "level": "INFO",
        "event": "request",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "seconds": 1.235,
        "run": "0123",
        "model": "moa:duo",
        "key": "anna",
    }


def test_what_befalls_the_process_is_json_too() -> None:
    result = json.loads(JSON().format(record("reloaded: duo")))
    assert (result["event"], result["message"]) == ("message", "reloaded: duo")


@pytest.mark.parametrize("formatter", [JSON(), Text("%(message)s")])
def test_an_exception_is_logged_with_type_and_traceback_without_its_message(formatter: logging.Formatter) -> None:
    result = formatter.format(record("Exception in ASGI application", exc_info=raised()))
    assert "KeyError" in result and "test_server_logs.py" in result and "in raised" in result
    assert "KeyError('heliotrope')" not in result and "KeyError: 'heliotrope'" not in result


def test_an_internal_error_of_a_client_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    error = raised()[1]
    assert [problem(error).message for _ in range(2)] == ["internal server error (KeyError)"] * 2
    (line,) = caplog.records
    assert "in raised" in Text().format(line)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_of_the_log_holds_words_or_keys(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", SECRET)
    monkeypatch.setenv("CLIENT_KEYS", SECRET)
    keyed = TOML.replace("attempts = 1", 'attempts = 1\napi_key_env = "UP_KEY"')
    toml = f'{keyed}\n[server]\nkeys_env = "CLIENT_KEYS"\n'
    bearer = {"Authorization": f"Bearer {SECRET}"}
    with Upstream(SAYS) as upstream, process(upstream, toml, "--log-format", form) as served:
        for path, body, headers in (
            (CHAT, ASK, bearer),
            (CHAT, {**ASK, "stream": True}, bearer),
            (CHAT, {**ASK, "model": "up:heliotrope"}, bearer),
            (CHAT, {**ASK, "model": "heliotrope"}, bearer),
            (CHAT, ASK, {"Authorization": f"Bearer wrong-{SECRET}"}),
            (f"/heliotrope?key={SECRET}", ASK, bearer),
        ):
            served.ask("POST", path, body, headers)
        served.line(LAST[form])
    log_text = "\n".join(served.lines)
    assert not [word for word in WORDS if word in log_text]
    if form == "json":
        result = [json.loads(line) for line in served.lines]
        requests = [line for line in result if line["event"] == "request"]
        assert [line["status"] for line in requests] == [200, 200, 502, 404, 401, 404]
        assert [line.get("model") for line in requests] == ["moa:duo", "moa:duo", "other", None, None, None]
        assert all(len(line["run"]) == 32 for line in requests[:3])
    else:
        assert sum(" INFO POST " in line for line in served.lines) == 6


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_is_no_fault(stream: bool) -> None:
    silent = Reply("crimson", delay=30)
    with Upstream({"a": silent, "b": silent}) as upstream, process(upstream, TOML) as served:
        client = http.client.HTTPConnection("127.0.0.1", served.port)
        client.request("POST", CHAT, json.dumps({**ASK, "stream": stream}))
        until(lambda: len(upstream.calls) == 2)
        client.close()
        served.line(f"POST {CHAT} gone")
        served.ask("POST", "/", ASK)  # what would be told of the one before has been told then
        served.line("POST / 405")
    assert not [line for line in served.lines if "ERROR" in line or "Traceback" in line]
