"""Telemetry as it leaves: from the command, to a collector that takes it, or does not."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from helpers.command import configured, moa
from helpers.serve import process
from helpers.server import TOML
from helpers.telemetry import Collector
from helpers.upstream import Reply, Upstream

SAYS = {"a": "red", "b": Reply("on fire", status=500), "big": "purple it is"}
SECRET = "sk-0123456789abcdef"


def telemetry_table(endpoint: str, more: str = "") -> str:
    return f'[telemetry]\nendpoint = "{endpoint}"\n{more}'


def test_a_question_at_the_command_is_sent_as_its_trace() -> None:
    with Upstream(SAYS) as upstream, Collector() as collector:
        configured(upstream, telemetry_table(collector.url, "metrics = true\n"))
        asked = moa("ask", "--json", "Which colour?")
    assert asked.returncode == 0 and asked.stderr == ""
    assert [span.name for span in sorted(collector.spans, key=lambda span: span.start_time_unix_nano)] == [
        "invoke_workflow panel",
        "layer 1",
        "chat a",
        "chat b",
        "chat big",
    ]
    assert {span.trace_id.hex() for span in collector.spans} == {moa("runs", "--json").stdout.split('"')[3]}
    assert b"Which colour" not in b"".join(body for _, body in collector.taken)
    assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration", "moa.lost"} <= collector.metrics


def test_the_environment_alone_turns_it_on() -> None:
    with Upstream(SAYS) as upstream, Collector() as collector:
        configured(upstream)
        moa(
            "ask",
            "Which?",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS=f"x-key={SECRET}",
            OTEL_SERVICE_NAME="ours",
            OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true",
        )
    sent = b"".join(body for _, body in collector.taken)
    assert b"ours" in sent and b"purple it is" in sent and SECRET.encode() not in sent
    assert {headers.get("x-key") for headers in collector.headers} == {SECRET}


def test_a_place_that_takes_no_telemetry_is_told_in_one_line_and_stops_nothing() -> None:
    with Upstream({**SAYS, "b": "blue"}) as upstream, Collector(status=405) as collector:
        configured(upstream, telemetry_table(collector.url))
        asked = moa("ask", "Which?")
    assert (asked.returncode, asked.stdout) == (0, "purple it is\n")
    _, line = asked.stderr.splitlines()  # the figures come first
    assert line == f"moa: telemetry is not sent: {collector.url}/v1/traces does not accept it"


def test_a_collector_that_is_not_there_is_told_in_one_line() -> None:
    with Upstream(SAYS) as upstream:
        configured(upstream, telemetry_table("http://127.0.0.1:9"))
        asked = moa("ask", "Which?")
    assert (asked.returncode, asked.stdout) == (0, "purple it is\n")
    assert asked.stderr.splitlines()[-1].endswith("127.0.0.1:9/v1/traces does not accept it")


def test_what_cannot_be_spoken_is_told_and_stops_nothing() -> None:
    with Upstream(SAYS) as upstream:
        configured(upstream)
        asked = moa("ask", "Which?", OTEL_EXPORTER_OTLP_ENDPOINT="http://h:4317", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert (asked.returncode, asked.stdout) == (0, "purple it is\n")
    assert "no telemetry is sent: OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf" in asked.stderr


def test_a_key_has_no_place_in_the_endpoint() -> None:
    Path("moa.toml").write_text(telemetry_table(f"http://user:{SECRET}@h"), "utf-8")
    asked = moa("ask", "Which?")
    assert asked.returncode == 2 and SECRET not in asked.stderr
    assert "OTEL_EXPORTER_OTLP_HEADERS" in asked.stderr


def test_what_a_server_still_holds_is_sent_when_it_is_told_to_stop() -> None:
    caller = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    ask = {"model": "moa:duo", "messages": [{"role": "user", "content": "Which?"}]}
    with (
        Upstream({"a": "red", "b": "blue", "judge": "purple"}) as upstream,
        Collector() as collector,
        process(upstream, TOML + telemetry_table(collector.url)) as served,
    ):
        assert served.ask("POST", "/v1/chat/completions", ask, caller)[0] == 200
        served.send_signal(signal.SIGTERM)
        assert served.code() == 0
    assert len(collector.spans) == 5
    assert {span.trace_id.hex() for span in collector.spans} == {"0af7651916cd43dd8448eb211c80319c"}


OBSERVED = """
import sys
from moa.config.schema import TelemetryTable
from moa.telemetry.setup import start_telemetry
{before}
with start_telemetry(TelemetryTable({settings}), print) as telemetry:
    print(telemetry, any(name.startswith("opentelemetry") for name in sys.modules))
"""


def python(before: str = "", settings: str = "") -> str:
    program = OBSERVED.format(before=before, settings=settings)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_nothing_of_opentelemetry_is_loaded_where_it_is_off() -> None:
    assert python() == "None False\n"


def test_where_opentelemetry_is_not_installed_it_is_said_how_to() -> None:
    output = python("sys.modules['opentelemetry'] = None", "endpoint='http://127.0.0.1:4318'")
    said = r'no telemetry is sent: opentelemetry\S* is missing: pip install "mixture-of-agents\[otel\]"\nNone True\n'
    assert re.fullmatch(said, output)
