"""What is happening in numbers, for Prometheus: a fold of the events and of the visits.

Every label is one of a known few (a route, a status, a model that the configuration names), whatever clients send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ..events import Delta, Event, Note, SpanEnd, SpanStart
from ..model import Emit
from .operations import Operation
from .service import Asked, Service
from .visits import Visit

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
STATES = {"closed": 0, "half-open": 1, "open": 2}


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.registry = registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter("moa_requests", "HTTP requests", ["route", "status"], registry=registry)
        self._first = Histogram(
            "moa_first_word_seconds",
            "until the first word of the answer",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self._whole = Histogram(
            "moa_answer_seconds", "until the answer is whole", ["model"], buckets=SECONDS, registry=registry
        )
        self._runs = Counter("moa_runs", "answers, by how they ended", ["model", "end"], registry=registry)
        self._calls = Counter("moa_calls", "calls to models, by how they ended", ["model", "end"], registry=registry)
        self._tokens = Counter("moa_tokens", "tokens of these calls", ["model", "kind"], registry=registry)
        self._cost = Counter("moa_cost_dollars", "their cost, where it is known", ["model"], registry=registry)
        self._lost = Counter("moa_lost", "proposals that did not arrive", ["model"], registry=registry)
        self._retries = Counter("moa_retries", "calls begun again", ["model"], registry=registry)
        self._fallbacks = Counter("moa_fallbacks", "answers or calls given by another", ["model"], registry=registry)
        active = Gauge("moa_active", "requests being answered", registry=registry)
        active.set_function(lambda: service.admission.active)
        waiting = Gauge("moa_waiting", "requests that wait their turn", registry=registry)
        waiting.set_function(lambda: service.admission.waiting)
        tasks = Gauge("moa_tasks", "asynchronous tasks, those of the server itself among them", registry=registry)
        tasks.set_function(lambda: len(asyncio.all_tasks()))
        registry.register(_Breakers(service))

    def visited(self, visit: Visit) -> None:
        self._requests.labels(visit.route, str(visit.status) if visit.status else "gone").inc()

    def watch(self, asked: Asked) -> Emit:
        """What counts the events of one run."""
        return _Fold(self, asked).add

    def label(self, model: str) -> str:
        """The model's name where the configuration names it, else "other"."""
        return model if model in self._service.known else "other"


class _Fold:
    """One run."""

    def __init__(self, metrics: Metrics, asked: Asked) -> None:
        self._metrics = metrics
        self._asked = metrics.label(asked.model.name)
        self._models: dict[str, str] = {}
        self._root: str | None = None
        self._above: set[str] = set()
        self._spoke = False

    def add(self, event: Event) -> None:
        match event:
            case SpanStart():
                self._models[event.span] = self._metrics.label(event.model)
                if event.parent is None:
                    self._root = event.span
                else:
                    self._above.add(event.parent)
                if event.role in ("layer", "section"):
                    self._above.add(event.span)
            case Delta(answer=True, kind="text") if not self._spoke:
                self._spoke = True
                self._metrics._first.labels(self._asked).observe(event.time)
            case Note(kind="lost"):
                self._metrics._lost.labels(self._metrics.label(event.data["model"])).inc()
            case Note(kind="retry"):
                self._metrics._retries.labels(self._models[event.span]).inc()
            case Note(kind="fallback"):
                self._metrics._fallbacks.labels(self._models[event.span]).inc()
            case SpanEnd():
                self._end(event)

    def _end(self, event: SpanEnd) -> None:
        end = "answered" if event.error is None else "failed"
        if event.span == self._root:
            self._metrics._runs.labels(self._asked, end).inc()
            if event.error is None:
                self._metrics._whole.labels(self._asked).observe(event.time)
        if event.span in self._above:
            return
        model = self._models[event.span]
        self._metrics._calls.labels(model, end).inc()
        if event.usage:
            self._metrics._tokens.labels(model, "input").inc(event.usage.input_tokens)
            self._metrics._tokens.labels(model, "output").inc(event.usage.output_tokens)
            self._metrics._cost.labels(model).inc(event.usage.cost or 0.0)


class _Breakers(Collector):
    """The states of the breakers, looked up when they are asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states = GaugeMetricFamily("moa_breaker", "0 closed, 1 half-open, 2 open", labels=["model"])
        for model, breaker in self._service.builder.breakers.items():
            if model in self._service.known:
                states.add_metric([model], STATES[breaker.state])
        yield states


OPERATIONS = (Operation("get", "/metrics", "Tell what is counted (Prometheus)"),)


def routes(metrics: Metrics) -> list[Route]:
    """GET /metrics."""

    async def told(http: HTTPRequest) -> HTTPResponse:
        body = generate_latest(metrics.registry)
        return HTTPResponse(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/metrics", told, methods=["GET"])]
