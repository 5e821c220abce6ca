"""Runs in OpenTelemetry: the attributes of spans, their tree, what is propagated, and what is not recorded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import moa
from helpers.command import until
from helpers.server import SAYS, TOML, Served
from helpers.telemetry import InMemoryTelemetry
from helpers.upstream import Reply, Upstream
from moa import (
    Layer,
    Message,
    Mixture,
    ModelError,
    Request,
    Response,
    Retried,
    Scripted,
    SpanEnd,
    SpanStart,
    Synthesize,
    Usage,
)
from moa.config.schema import TelemetryTable
from moa.models.openai.model import OpenAI
from moa.telemetry import Telemetry
from moa.telemetry.setup import Endpoints, endpoints, unsupported

ASK = Request((Message("user", "Which colour?"),))
RED = Response("lab:a", "red", Usage(3, 1, 0.25))
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


def panel(*proposers: moa.Model) -> Mixture:
    return Mixture((Layer(proposers),), Synthesize(Scripted("lab:big", "purple")), name="moa:panel")


def ask(model: moa.Model, telemetry: Telemetry, request: Request = ASK, words: moa.span.StreamMode = "all") -> Response:
    return asyncio.run(moa.generate(model, request, telemetry, words))


def attributes_of(telemetry: InMemoryTelemetry, name: str) -> Mapping[str, Any]:
    return telemetry.span(name).attributes or {}


def test_a_run_is_a_tree_of_the_mixture_its_layers_and_their_calls() -> None:
    kept = InMemoryTelemetry()
    inner = Mixture(
        (Layer((Scripted("lab:b", "blue"), Scripted("lab:c", "cyan"))),),
        Synthesize(Scripted("lab:d", "teal")),
        name="moa:inner",
    )
    ask(panel(Scripted("lab:a", "red"), inner), kept)
    assert kept.tree() == [
        "invoke_workflow panel",
        "  layer 1",
        "    chat a",
        "    invoke_workflow inner",
        "      layer 1",
        "        chat b",
        "        chat c",
        "      chat d",
        "  chat big",
    ]


def test_a_call_to_elsewhere_is_a_client_and_what_holds_calls_is_not() -> None:
    kept = InMemoryTelemetry()
    ask(panel(Scripted("lab:a", "red"), Scripted("local:smollm2", "blue")), kept)
    assert {span.name: span.kind for span in kept.spans} == {
        "invoke_workflow panel": SpanKind.INTERNAL,
        "layer 1": SpanKind.INTERNAL,
        "chat a": SpanKind.CLIENT,
        "chat smollm2": SpanKind.INTERNAL,
        "chat big": SpanKind.CLIENT,
    }


def test_a_trace_and_its_spans_have_the_ids_of_the_run_and_its_calls() -> None:
    kept, starts = InMemoryTelemetry(), []
    emit = moa.sinks.tee(kept, lambda event: starts.append(event) if isinstance(event, SpanStart) else None)
    asyncio.run(moa.generate(panel(Scripted("lab:a", "red")), ASK, emit))
    contexts = [span.context for span in kept.spans]
    assert [f"{one.span_id:016x}" for one in contexts if one] == [start.span for start in starts]
    assert {f"{one.trace_id:032x}" for one in contexts if one} == {starts[0].run}
    assert {attributes_of(kept, span.name)["moa.run.id"] for span in kept.spans} == {starts[0].run}


def test_a_call_says_who_was_asked_how_and_what_it_used() -> None:
    kept = InMemoryTelemetry()
    model = moa.WithDefaults(
        Scripted("lab:a", RED), temperature=0.5, max_tokens=9, seed=7, stop=("END",), extra={"top_k": 4, "min_p": 0.1}
    )
    ask(panel(model), kept)
    known = dict(attributes_of(kept, "chat a"))
    assert known.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert len(known.pop("moa.run.id")) == 32
    assert known == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "lab",
        "gen_ai.request.model": "a",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.top_k": 4,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 1,
        "moa.role": "proposer",
        "moa.layer": 1,
        "moa.index": 0,
        "moa.cost.usd": 0.25,
    }


def test_only_calls_have_tokens_and_cost_of_their_own_so_that_adding_them_up_counts_nothing_twice() -> None:
    kept = InMemoryTelemetry()
    ask(Mixture((Layer((Scripted("lab:a", RED),)),), Synthesize(Scripted("lab:big", RED)), name="moa:panel"), kept)
    root = attributes_of(kept, "invoke_workflow panel")
    assert (root["moa.total.input_tokens"], root["moa.total.output_tokens"], root["moa.total.cost.usd"]) == (6, 2, 0.5)
    assert [span.name for span in kept.spans if "moa.cost.usd" in (span.attributes or {})] == ["chat a", "chat big"]
    assert [span.name for span in kept.spans if "gen_ai.usage.input_tokens" in (span.attributes or {})] == [
        "chat a",
        "chat big",
    ]


def test_an_unknown_cost_is_not_told() -> None:
    kept = InMemoryTelemetry()
    ask(panel(Scripted("lab:a", Response("lab:a", "red", Usage(3, 1)))), kept)
    assert not any("cost" in name for span in kept.spans for name in span.attributes or {})


def test_retries_are_inside_the_span_of_their_call() -> None:
    kept = InMemoryTelemetry()
    busy = ModelError("lab:a: HTTP 503: busy", retryable=True)
    ask(panel(Retried(Scripted("lab:a", [busy, busy, RED]), pause=0.01)), kept)
    span = kept.span("chat a")
    assert (span.attributes or {})["moa.retries"] == 2
    assert [event.name for event in span.events] == ["moa.retry", "moa.retry"]
    assert dict(span.events[0].attributes or {}) == {
        "moa.attempt": 1,
        "moa.wait": 0.01,
        "moa.error": "lab:a: HTTP 503: busy",
    }
    assert span.start_time and span.end_time
    assert span.start_time <= span.events[0].timestamp <= span.events[1].timestamp <= span.end_time
    assert span.status.status_code == StatusCode.UNSET


def test_a_lost_proposal_is_an_error_of_its_call_and_an_event_of_its_layer() -> None:
    kept = InMemoryTelemetry()
    ask(panel(Scripted("lab:a", "red"), Scripted("lab:b", ModelError("lab:b: HTTP 500: gone"))), kept)
    lost = kept.span("chat b")
    assert (lost.status.status_code, lost.status.description) == (StatusCode.ERROR, "lab:b: HTTP 500: gone")
    assert ((lost.attributes or {})["moa.lost"], (lost.attributes or {})["error.type"]) == (True, "_OTHER")
    (event,) = kept.span("layer 1").events
    assert (event.name, (event.attributes or {})["moa.model"]) == ("moa.proposal_lost", "lab:b")
    assert kept.span("layer 1").status.status_code == StatusCode.UNSET
    assert "moa.lost" not in attributes_of(kept, "chat a")


def test_a_cached_call_says_so() -> None:
    kept, model = InMemoryTelemetry(), moa.Cached(Scripted("lab:a", RED))
    ask(model, InMemoryTelemetry())
    ask(model, kept)
    known = attributes_of(kept, "chat a")
    assert (known["moa.cached"], known["gen_ai.usage.output_tokens"], known["moa.cost.usd"]) == (True, 0, 0.0)


def test_whatever_a_client_asks_for_can_be_encoded() -> None:
    kept = InMemoryTelemetry(content=True)
    options = {"top_k": 10**30, "presence_penalty": {"a": [1]}, "frequency_penalty": None}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    call = {"id": "call_7", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = (
        Message("user", ({"type": "text", "text": "Which?"}, picture)),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "rain", tool_call_id="call_7"),
    )
    ask(Scripted("lab:a", "red"), kept, Request(messages, seed=2**64 - 1, max_tokens=10**20, extra=options))
    (span,) = encode_spans(kept.spans).resource_spans[0].scope_spans[0].spans
    known = {one.key: one.value.string_value for one in span.attributes}
    assert known["gen_ai.request.seed"] == str(2**64 - 1)
    assert known["gen_ai.request.presence_penalty"] == '{"a": [1]}'
    assert json.loads(known["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Which?"}, {"type": "text", "content": "[image_url]"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "call_7", "name": "weather", "arguments": "{}"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_7", "response": "rain"}]},
    ]


def test_what_was_said_is_recorded_only_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    silent, open_ = InMemoryTelemetry(), InMemoryTelemetry(content=True)
    for kept in (silent, open_):
        ask(panel(Scripted("lab:a", "crimson")), kept)
    words = [str(span.to_json()) for span in silent.spans]
    assert not any(word in text for text in words for word in ("Which colour?", "crimson", "purple"))
    call = attributes_of(open_, "chat a")
    assert json.loads(call["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Which colour?"}]}
    ]
    assert json.loads(call["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "crimson"}], "finish_reason": "stop"}
    ]
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    asked = InMemoryTelemetry()
    ask(panel(Scripted("lab:a", "crimson")), asked)
    assert attributes_of(asked, "chat a")["gen_ai.output.messages"] == call["gen_ai.output.messages"]


async def test_runs_at_the_same_time_do_not_mix() -> None:
    kept = InMemoryTelemetry()
    mixtures = [panel(*(Scripted(f"lab:{n}-{m}", "red", delay=0.001 * m) for m in range(3))) for n in range(20)]
    await asyncio.gather(*(moa.generate(mixture, ASK, kept) for mixture in mixtures))
    traces: dict[int, set[str]] = {}
    for span in kept.spans:
        assert span.context
        traces.setdefault(span.context.trace_id, set()).add(span.name)
    calls = sorted(names - {"invoke_workflow panel", "layer 1", "chat big"} for names in traces.values())
    assert sorted(map(sorted, calls)) == sorted(sorted(f"chat {n}-{m}" for m in range(3)) for n in range(20))


async def test_a_run_that_is_left_early_leaves_nothing_open() -> None:
    kept = InMemoryTelemetry()
    async with moa.stream(panel(Scripted("lab:a", "red", delay=60)), ASK, emit=kept) as events:
        async for event in events:
            if isinstance(event, SpanStart) and event.role == "proposer":
                break
    assert kept.open == 0
    assert [span.status.status_code for span in kept.spans] == [StatusCode.ERROR] * 3


def test_a_run_that_was_cut_off_is_ended_with_the_telemetry() -> None:
    kept = InMemoryTelemetry()
    kept(SpanStart("0" * 31 + "1", "0" * 15 + "1", 0.0, "root", "moa:panel", started_at=1.0))
    kept(SpanStart("0" * 31 + "1", "0" * 15 + "2", 2.0, "layer", "layer 1", "0" * 15 + "1", 1))
    kept.close()
    assert kept.open == 0
    assert [span.status.description for span in kept.spans] == ["cut off"] * 2
    late = "0" * 15 + "3"  # a call of the run, which went on all the same
    kept(SpanStart("0" * 31 + "1", late, 3.0, "proposer", "lab:a", "0" * 15 + "2", 1))
    kept(SpanEnd(late, 4.0))
    assert (kept.open, len(kept.spans)) == (0, 2)


def test_a_run_is_part_of_what_its_caller_traces() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()  # with ids of its own, as a program has it that traces itself already
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("caller").start_as_current_span("work") as work:
        ask(panel(Scripted("lab:a", "red")), Telemetry(provider))
    spans = {span.name: span for span in exporter.get_finished_spans()}
    root = spans["invoke_workflow panel"]
    assert root.parent and root.parent.span_id == work.get_span_context().span_id
    assert {span.context.trace_id for span in spans.values() if span.context} == {work.get_span_context().trace_id}


@pytest.mark.parametrize("propagate", [True, False])
def test_upstreams_are_told_the_span_of_their_own_call(propagate: bool) -> None:
    kept = InMemoryTelemetry(propagate=propagate)
    with Upstream({"a": "red", "b": "blue", "big": "purple"}) as upstream:
        a, b, big = (OpenAI(name, upstream.url, f"lab:{name}") for name in ("a", "b", "big"))
        ask(Mixture((Layer((a, b)),), Synthesize(big), name="moa:panel"), kept)
    for name in ("a", "b", "big"):
        context = kept.span(f"chat {name}").context
        assert context
        said = f"00-{context.trace_id:032x}-{context.span_id:016x}-03" if propagate else None
        assert [call.headers.get("traceparent") for call in upstream.to(name)] == [said]


MESSAGES = [{"role": "user", "content": "Which?"}]
STREAMED = (
    ("/v1/chat/completions", {"messages": MESSAGES}),
    ("/v1/completions", {"prompt": "Which?"}),
    ("/v1/responses", {"input": "Which?"}),
    ("/v1/messages", {"max_tokens": 9, "messages": MESSAGES}),
    ("/api/chat", {"messages": MESSAGES}),
    ("/api/generate", {"prompt": "Which?"}),
)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((path, {**body, "stream": stream}) for path, body in STREAMED for stream in (False, True)),
        ("/api/runs", {"messages": MESSAGES}),
    ],
)
def test_every_route_joins_the_trace_of_its_client(path: str, body: dict[str, Any]) -> None:
    kept = InMemoryTelemetry()
    with Upstream(SAYS) as upstream, Served(TOML, upstream, telemetry=kept) as served:
        started = served.post(path, {"model": "moa:duo", **body}, CALLER)
        if path == "/api/runs":
            served.get(f"/api/runs/{started.json['run_id']}/events")
    root = kept.span("invoke_workflow duo")
    assert root.context and root.parent
    assert (f"{root.context.trace_id:032x}", f"{root.parent.span_id:016x}") == (TRACE, "b7ad6b7169203331")
    assert {call.headers["traceparent"].split("-")[1] for call in upstream.calls} == {TRACE}


def test_a_run_that_a_client_stops_leaves_nothing_open() -> None:
    kept = InMemoryTelemetry()
    says = {**SAYS, "b": Reply("blue", delay=60)}
    with Upstream(says) as upstream, Served(TOML, upstream, telemetry=kept) as served:
        run = served.post("/api/runs", {"model": "moa:duo", "messages": MESSAGES}).json["run_id"]
        until(lambda: upstream.to("b") and [span.name for span in kept.spans] == ["chat a"])
        served.ask("DELETE", f"/api/runs/{run}")
        assert kept.open == 0
    assert kept.span("invoke_workflow duo").status.status_code == StatusCode.ERROR
    assert kept.span("chat a").status.status_code == StatusCode.UNSET


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", f"ff-{TRACE}-1-01"])
def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(header: str) -> None:
    kept = InMemoryTelemetry()
    with Upstream(SAYS) as upstream, Served(TOML, upstream, telemetry=kept) as served:
        body = {"model": "moa:duo", "messages": MESSAGES}
        answer = served.post("/v1/chat/completions", body, {"traceparent": header})
    root = kept.span("invoke_workflow duo")
    assert root.parent is None and root.context
    assert f"{root.context.trace_id:032x}" == answer.json["moa"]["run_id"]


def test_a_caller_that_does_not_sample_is_not_traced_but_counted() -> None:
    kept = InMemoryTelemetry()
    with Upstream(SAYS) as upstream, Served(TOML, upstream, telemetry=kept) as served:
        body = {"model": "moa:duo", "messages": MESSAGES}
        served.post("/v1/chat/completions", body, {"traceparent": CALLER["traceparent"][:-1] + "0"})
    assert kept.spans == []
    assert kept.measured("gen_ai.client.token.usage")["chat", "up", "judge", "output", "aggregator"] == 3


def test_calls_are_measured_by_model_and_role() -> None:
    kept = InMemoryTelemetry()
    busy = ModelError("busy", retryable=True)
    ask(panel(Retried(Scripted("lab:a", [busy, RED]), pause=0), Scripted("lab:b", ModelError("gone"))), kept)
    tokens = kept.measured("gen_ai.client.token.usage")
    assert tokens["chat", "lab", "a", "input", "proposer"] == 3
    assert tokens["chat", "lab", "a", "output", "proposer"] == 1
    assert kept.measured("moa.cost")["chat", "lab", "a", "proposer"] == 0.25
    assert kept.measured("moa.retries") == {("lab", "a"): 1}
    assert kept.measured("moa.lost") == {("lab", "b"): 1}
    assert set(kept.measured("gen_ai.client.operation.duration")) == {
        ("chat", "lab", "a", "proposer"),
        ("_OTHER", "chat", "lab", "b", "proposer"),
        ("chat", "lab", "big", "aggregator"),
        ("invoke_workflow", "moa", "panel", "root"),
    }
    assert ("chat", "lab", "a", "proposer") in kept.measured("gen_ai.client.operation.time_to_first_chunk")


OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}


@pytest.mark.parametrize(
    ("table", "environment", "found"),
    [
        ({}, {}, None),
        ({"endpoint": "http://h:1"}, {}, Endpoints("http://h:1/v1/traces", None)),
        ({"endpoint": "http://h:1", "metrics": True}, {}, Endpoints("http://h:1/v1/traces", "http://h:1/v1/metrics")),
        ({"endpoint": "http://h:1"}, OTLP, Endpoints("http://h:1/v1/traces", None)),
        ({}, OTLP, Endpoints("http://c:4318/v1/traces", None)),
        ({"metrics": True}, OTLP, Endpoints("http://c:4318/v1/traces", "http://c:4318/v1/metrics")),
        ({"enabled": False}, OTLP, None),
        ({}, {**OTLP, "OTEL_SDK_DISABLED": "true"}, None),
        ({}, {**OTLP, "OTEL_TRACES_EXPORTER": "none"}, None),
        ({}, {"OTEL_TRACES_EXPORTER": "otlp"}, Endpoints("http://localhost:4318/v1/traces", None)),
        ({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x"}, Endpoints("http://t/x", None)),
        ({}, {"OTEL_METRICS_EXPORTER": "otlp"}, Endpoints(None, "http://localhost:4318/v1/metrics")),
    ],
)
def test_telemetry_goes_where_the_configuration_or_the_environment_says(
    table: dict[str, Any], environment: dict[str, str], found: Endpoints | None
) -> None:
    assert endpoints(TelemetryTable(**table), environment) == found


def test_what_cannot_be_spoken_is_named() -> None:
    for name, value in {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_EXPORTER": "zipkin"}.items():
        problem = unsupported({name: value})
        assert problem and problem.startswith(f"{name}: ") and repr(value) in problem
    assert unsupported({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}) is None
