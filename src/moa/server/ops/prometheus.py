"""Prometheus metrics: a fold of the events and of the request log.

Every label has few values (a route, a status, a configured model), whatever clients send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ... import notes
from ...events import Event, Note, SpanEnd, SpanStart, TextDelta
from ...sinks import EventSink
from ..middleware.request_log import RequestLogEntry
from ..schemas import Operation
from ..service import RunRequest, Service

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
STATES = {"closed": 0, "half-open": 1, "open": 2}


class Metrics:
    """The metrics of one server, in a registry of its own.

    The label `mixture` is the model of the request, `model` the one that was called for it.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.registry = registry = CollectorRegistry(auto_describe=False)
        of_mixture, of_call = ("mixture",), ("mixture", "model")

        def counter(name: str, help: str, *labels: str) -> _Labelled[Counter]:
            return _Labelled(Counter(name, help, labels, registry=registry))

        def seconds(name: str, help: str, labels: Sequence[str]) -> _Labelled[Histogram]:
            return _Labelled(Histogram(name, help, labels, buckets=SECONDS, registry=registry))

        def gauge(name: str, help: str, *labels: str) -> Gauge:
            return Gauge(name, help, labels, registry=registry)

        self._requests = counter("moa_requests", "HTTP requests", "route", "status")
        self.runs = counter("moa_runs", "runs, by how they ended", *of_mixture, "end")
        self.first_word = seconds("moa_first_word_seconds", "seconds to the first word of the answer", of_mixture)
        self.whole = seconds("moa_answer_seconds", "seconds to the end of the answer", of_mixture)
        self.calls = counter("moa_calls", "calls to models, by how they ended", *of_call, "end")
        self.call_first_word = seconds("moa_call_first_word_seconds", "seconds to the first word of a call", of_call)
        self.call_whole = seconds("moa_call_seconds", "seconds to the end of a call", of_call)
        self.tokens = counter("moa_tokens", "tokens of these calls", *of_call, "kind")
        self.cost = counter("moa_cost_dollars", "cost of these calls, as far as prices are known", *of_call)
        self.cached = counter("moa_cached", "calls answered from a cache", *of_call)
        self.lost = counter("moa_lost", "proposals that did not arrive", *of_call)
        self.retries = counter("moa_retries", "retried calls", *of_call)
        self.fallbacks = counter("moa_fallbacks", "answers or calls by a fallback", *of_call)
        self.running = _Labelled(gauge("moa_calls_running", "running calls", *of_call))
        self.queued = _Labelled(gauge("moa_calls_queued", "running calls that wait for a slot", *of_call))
        gauge("moa_active", "running requests").set_function(lambda: service.admission.active)
        gauge("moa_waiting", "waiting requests").set_function(lambda: service.admission.waiting)
        gauge("moa_tasks", "asyncio tasks, including the server's own").set_function(lambda: len(asyncio.all_tasks()))
        registry.register(_Breakers(service))

    def count(self, entry: RequestLogEntry) -> None:
        self._requests[entry.route, str(entry.status) if entry.status else "gone"].inc()

    def watch(self, run: RunRequest) -> EventSink:
        """Return a sink for the events of one run."""
        return _RunFold(self, self._service, run).add


Metric = TypeVar("Metric", bound=MetricWrapperBase)


class _Labelled(dict[tuple[str, ...], Metric]):
    """The children of a metric by their labels. Prometheus' own `labels()` is much slower, and a request counts about
    thirty."""

    def __init__(self, kind: Metric) -> None:
        super().__init__()
        self._kind: Metric = kind

    def __missing__(self, labels: tuple[str, ...]) -> Metric:
        number = self[labels] = self._kind.labels(*labels)
        return number


@dataclass(eq=False)
class _Call:
    """A call in progress."""

    start: SpanStart
    labels: tuple[str, str]
    holds: bool = False  # a mixture or a layer, which only contains calls
    spoke: bool = False
    queued: bool = False


class _RunFold:
    """Folds the events of one run."""

    def __init__(self, metrics: Metrics, service: Service, run: RunRequest) -> None:
        self._metrics = metrics
        self._label = service.label
        self._mixture = service.label(run.model.name)
        self._calls: dict[str, _Call] = {}
        self._spoke = False

    def add(self, event: Event) -> None:
        if isinstance(event, SpanStart):
            self._begin(event)
        elif isinstance(event, TextDelta):
            self._hear(event)
        elif isinstance(event, Note):
            self._note(self._calls[event.span], event)
        else:
            self._end(self._calls.pop(event.span), event)

    def _begin(self, start: SpanStart) -> None:
        call = self._calls[start.span] = _Call(start, (self._mixture, self._label(start.model)))
        above = self._calls.get(start.parent or "")
        if above and not above.holds:
            above.holds = True
            self._metrics.running[above.labels].dec()
        call.holds = start.role in ("layer", "section")
        if not call.holds:
            self._metrics.running[call.labels].inc()

    def _hear(self, delta: TextDelta) -> None:
        call = self._calls[delta.span]
        if not call.spoke:
            call.spoke = True
            self._metrics.call_first_word[call.labels].observe(delta.time - call.start.time)
        if not self._spoke and delta.answer and delta.kind == "text":
            self._spoke = True
            self._metrics.first_word[self._mixture,].observe(delta.time)

    def _note(self, call: _Call, note: Note) -> None:
        match note.data:
            case notes.ProposalLost(model=model):
                self._metrics.lost[self._mixture, self._label(model)].inc()
            case notes.Retry():
                self._metrics.retries[call.labels].inc()
            case notes.Fallback():
                self._metrics.fallbacks[call.labels].inc()
            case notes.Cached():
                self._metrics.cached[call.labels].inc()
            case notes.Queued() | notes.Dequeued():
                self._waits(call, isinstance(note.data, notes.Queued))

    def _waits(self, call: _Call, waits: bool) -> None:
        if call.queued != waits:
            call.queued = waits
            self._metrics.queued[call.labels].inc(1 if waits else -1)

    def _end(self, call: _Call, end: SpanEnd) -> None:
        how = "answered" if end.error is None else "failed"
        if call.start.parent is None:
            self._metrics.runs[self._mixture, how].inc()
            if end.error is None:
                self._metrics.whole[self._mixture,].observe(end.time)
        self._waits(call, False)
        if call.holds:
            return
        self._metrics.running[call.labels].dec()
        if call.start.role != "prewarm":
            self._metrics.calls[*call.labels, how].inc()
            self._metrics.call_whole[call.labels].observe(end.time - call.start.time)
        if end.usage:
            self._metrics.tokens[*call.labels, "input"].inc(end.usage.input_tokens)
            self._metrics.tokens[*call.labels, "output"].inc(end.usage.output_tokens)
            self._metrics.cost[call.labels].inc(end.usage.cost or 0.0)


class _Breakers(Collector):
    """The states of the circuit breakers, read on each scrape."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states = GaugeMetricFamily("moa_breaker", "0 closed, 1 half-open, 2 open", labels=["model"])
        for model, breaker in self._service.builder.breakers.items():
            if model in self._service.known:
                states.add_metric([model], STATES[breaker.state])
        yield states


OPERATIONS = (Operation("get", "/metrics", "Return the metrics (Prometheus)"),)


def routes(metrics: Metrics) -> list[Route]:
    """GET /metrics."""

    async def scrape(http: HTTPRequest) -> HTTPResponse:
        body = generate_latest(metrics.registry)
        return HTTPResponse(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/metrics", scrape, methods=["GET"])]
