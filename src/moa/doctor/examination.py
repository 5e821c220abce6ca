"""Examines whether a mixture really mixes: sends a canary through it and checks what was sent and received.

The canary is a short conversation with words that do not occur by chance. Only the events of the run count, not what
a model or an aggregator claims to do.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import ConfigError, MoaError, ModelError
from ..events import Event, TextDelta
from ..mixture.mixture import Mixture
from ..mixture.strategies.early_exit import EarlyExit
from ..mixture.strategies.staircase import Staircase
from ..model import Model, WithDefaults, WrapperModel, check, leaves
from ..sinks import EventSink
from ..span import generate
from ..trace.tree import Trace
from ..types import Message, Request
from ..wrappers.fallback import Fallback
from .checks import CHECKS, Case, Check, Outcome, ok


@dataclass(frozen=True, slots=True)
class Report:
    """The results of the checks. `sent`: whether the canary was sent at all; `answer`: the answer to it."""

    model: str
    checks: tuple[Check, ...]
    sent: bool = True
    answer: str | None = None

    @property
    def ok(self) -> bool:
        return all(check.outcome != "fail" for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0 if nothing failed, 2 if nothing could be sent, else 1."""
        return 0 if self.ok else 1 if self.sent else 2

    @property
    def lines(self) -> list[str]:
        """The report as lines of text."""
        return [line for check in self.checks for line in check.lines]

    def to_json(self) -> dict[str, Any]:
        checks = [asdict(check) for check in self.checks]
        return {"model": self.model, "ok": self.ok, "sent": self.sent, "answer": self.answer, "checks": checks}


async def examine(model: Model, timeout: float = 300.0, emit: EventSink | None = None) -> Report:
    """Send a canary through a model or mixture and report what was really sent and received.

    Nothing is sent if a key is missing. `timeout` is in seconds; `emit` receives all events. Wrong models and settings
    raise nothing, as they are in the report.
    """
    keys = list(_keys(model))
    if any(check.outcome == "fail" for check in keys):
        return Report(model.name, tuple(keys), sent=False)
    case = await _send(_sequential(model), timeout, emit)
    results = [result for examine_case in CHECKS for result in examine_case(case)]
    return Report(model.name, (*keys, *results), answer=case.response.text if case.response else None)


def canary() -> Request:
    """Return a short conversation with a unique word in each message, so that it is in no cache."""

    def mark(bird: str) -> str:
        return f"{bird}-{secrets.token_hex(3)}"

    return Request(
        (
            Message("system", f"Answer in one short sentence. (Mark: {mark('heron')}.)"),
            Message("user", f"I keep small birds. (Mark: {mark('wren')}.)"),
            Message("assistant", f"How nice. (Mark: {mark('swift')}.)"),
            Message("user", f"What colour is a canary? (Mark: {mark('finch')}.)"),
        )
    )


async def _send(model: Model, timeout: float, emit: EventSink | None) -> Case:
    case = Case(model, canary(), Trace())

    def on_event(event: Event) -> None:
        case.trace.add(event)
        if isinstance(event, TextDelta) and event.answer and event.kind == "text":
            case.streamed += event.text
        if emit:
            emit(event)

    try:
        async with asyncio.timeout(timeout):
            case.response = await generate(model, case.request, on_event, "all")
    except MoaError as error:
        case.error = error
    except TimeoutError:
        case.error = ModelError(f"timed out after {timeout:g} s", model=model.name)
    return case


def _sequential(model: Model) -> Model:
    """Return the model without early exits and staircases, which skip stages or send proposals in parts."""
    match model:
        case WithDefaults():
            return replace(model, inner=_sequential(model.inner))
        case Mixture():
            layers = [replace(layer, proposers=list(map(_sequential, layer.proposers))) for layer in model.layers]
            strategies = [strategy for strategy in model.strategies if not isinstance(strategy, (EarlyExit, Staircase))]
            return replace(model, layers=layers, strategies=strategies)
    return model


def _keys(model: Model) -> Iterator[Check]:
    """Check each model before any call, for example its API key."""
    models = {leaf.name: leaf for leaf in leaves(model)}
    problems: dict[str, list[str]] = {}  # the models that have each problem
    for name, leaf in models.items():
        try:
            check(leaf)
        except (ModelError, ConfigError) as error:
            problems.setdefault(str(error).removeprefix(f"{name}: "), []).append(name)
    needed = _unavailable(model)
    for problem, names in problems.items():
        outcome: Outcome = "fail" if needed & set(names) else "warn"
        yield Check(outcome, f"{', '.join(names)} cannot be called", problem)
    if not problems:
        count = "1 model" if len(models) == 1 else f"{len(models)} models"
        yield ok("every model can be called, and its key is set", count)


def _unavailable(model: Model) -> set[str]:
    """Return the names of models that cannot be called and have no fallback."""
    match model:
        case WrapperModel():
            return _unavailable(model.inner)
        case Mixture():
            inside = [proposer for layer in model.layers for proposer in layer.proposers]
            return set().union(*map(_unavailable, (*inside, *model.aggregator.models)))
        case Fallback():
            unavailable = [_unavailable(fallback) for fallback in model.models]
            return set().union(*unavailable) if all(unavailable) else set()
    try:
        check(model)
    except (ModelError, ConfigError):
        return {model.name}
    return set()
