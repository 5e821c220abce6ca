"""Whether a mixture really mixes: a canary is sent through it, and what was really sent and received is examined.

The canary is a short conversation with words in it that nobody says by chance. What a model or an aggregator claims
to do counts for nothing here; only the events of the run do.
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
from .checks import EXAMINED, Case, Check, Outcome, ok


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor found. `sent` says whether the canary was sent at all, `answer` is what came back."""

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
        """The report as plain lines."""
        return [line for check in self.checks for line in check.lines]

    def to_json(self) -> dict[str, Any]:
        checks = [asdict(check) for check in self.checks]
        return {"model": self.model, "ok": self.ok, "sent": self.sent, "answer": self.answer, "checks": checks}


async def examine(model: Model, patience: float = 300.0, emit: EventSink | None = None) -> Report:
    """Send a canary through a model or mixture and report what was really sent and received.

    Nothing is sent when a key is missing. `patience` is how long the answer may take, in seconds; `emit` is told every
    event. Raises nothing for what is wrong with models or settings: that is the report.
    """
    keys = list(_keys(model))
    if any(check.outcome == "fail" for check in keys):
        return Report(model.name, tuple(keys), sent=False)
    case = await _sent(_unhurried(model), patience, emit)
    found = [check for examined in EXAMINED for check in examined(case)]
    return Report(model.name, (*keys, *found), answer=case.response.text if case.response else None)


def canary() -> Request:
    """A short conversation with a word of its own in every message, so that no cache knows it."""

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


async def _sent(model: Model, patience: float, emit: EventSink | None) -> Case:
    case = Case(model, canary(), Trace())

    def see(event: Event) -> None:
        case.trace.add(event)
        if isinstance(event, TextDelta) and event.answer and event.kind == "text":
            case.watched += event.text
        if emit:
            emit(event)

    try:
        async with asyncio.timeout(patience):
            case.response = await generate(model, case.request, see, "all")
    except MoaError as error:
        case.error = error
    except TimeoutError:
        case.error = ModelError(f"no answer within {patience:g} s", model=model.name)
    return case


def _unhurried(model: Model) -> Model:
    """The model with every stage asked, one after another: what is skipped, or read in parts, cannot be examined."""
    match model:
        case WithDefaults():
            return replace(model, inner=_unhurried(model.inner))
        case Mixture():
            layers = [replace(one, proposers=[_unhurried(asked) for asked in one.proposers]) for one in model.layers]
            strategies = [one for one in model.strategies if not isinstance(one, (EarlyExit, Staircase))]
            return replace(model, layers=layers, strategies=strategies)
    return model


def _keys(model: Model) -> Iterator[Check]:
    """What stands in the way of a call, before any call."""
    names = {member.name: member for member in leaves(model)}
    wanting: dict[str, list[str]] = {}  # what is wanting -> the models that want it
    for name, member in names.items():
        try:
            check(member)
        except (ModelError, ConfigError) as error:
            wanting.setdefault(str(error).removeprefix(f"{name}: "), []).append(name)
    needed = _stopped(model)
    for words, lacking in wanting.items():
        outcome: Outcome = "fail" if needed & set(lacking) else "warn"
        yield Check(outcome, f"{', '.join(lacking)} cannot be called", words)
    if not wanting:
        yield ok(
            "every model can be called, and its key is set", "1 model" if len(names) == 1 else f"{len(names)} models"
        )


def _stopped(model: Model) -> set[str]:
    """The models that cannot be called and that nothing stands in for."""
    match model:
        case WrapperModel():
            return _stopped(model.inner)
        case Mixture():
            inside = [proposer for layer in model.layers for proposer in layer.proposers]
            return set().union(*(_stopped(one) for one in (*inside, *model.aggregator.models)))
        case Fallback():
            stopped = [_stopped(spare) for spare in model.models]
            return set().union(*stopped) if all(stopped) else set()
    try:
        check(model)
    except (ModelError, ConfigError):
        return {model.name}
    return set()
