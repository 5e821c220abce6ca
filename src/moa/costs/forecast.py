"""Forecasts of what a call will use, before it is made: one fold over the stages of a mixture for all estimates.

A function for single models decides the kind: `assumed` takes a usual length for every answer, `moa.estimates.likely`
takes it from stored runs. `moa.estimates.worst_case` folds the tables of a configuration in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

from ..events import Role
from ..model import Model, children, find, info, unwrap_defaults
from ..types import Request, Usage

Number = TypeVar("Number", int, float)

ASSUMED = 1000
"""Tokens of an answer without `max_tokens`."""

INSTRUCTION = 300
"""Tokens of the instruction and the delimiters that references come with, enough for six references with names."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What some calls will use.

    `written` is the length in tokens of the answer that is read on, `seconds` the duration; both are `None` if unknown,
    as is the cost of the `usage`. `unknown` names what is not known of them.
    """

    calls: int = 0
    usage: Usage = Usage(cost=0.0)
    written: int | None = 0
    seconds: float | None = 0.0
    unknown: tuple[str, ...] = ()

    @property
    def cost(self) -> float | None:
        """US dollars, `None` if unknown."""
        return self.usage.cost

    def then(self, *others: Forecast) -> Forecast:
        """Return this forecast with calls made after it, side by side. The answer is the longest of theirs."""
        seconds = [other.seconds for other in others if other.seconds is not None]
        written = [other.written for other in others if other.written is not None]
        return Forecast(
            self.calls + sum(other.calls for other in others),
            Usage.total((self.usage, *(other.usage for other in others))),
            max(written, default=0) if len(written) == len(others) else None,
            total(self.seconds, max(seconds, default=0.0)) if len(seconds) == len(others) else None,
            (*self.unknown, *(name for other in others for name in other.unknown)),
        )


@dataclass(frozen=True, slots=True)
class Call:
    """A call to a single model that is to be forecast.

    `references` are the tokens it reads besides its request, `asked` those of the request that its mixture got.
    """

    model: Model
    request: Request
    references: int = 0
    role: Role = "root"
    mixture: str = ""
    asked: int = 0


Leaf = Callable[[Call], Forecast]
"""Returns the forecast of a call to a single model."""

Ask = Callable[[int | None], Forecast]
"""Returns the forecast of a call that reads this many tokens of references, `None` if unknown."""


@runtime_checkable
class Staged(Protocol):
    """A model that calls others in stages, each of which reads what the stage before wrote."""

    def stages(self) -> tuple[Sequence[Sequence[Model]], Model | None]:
        """Return the models of each layer, and the model that writes the answer, if any."""
        ...


def assumed(call: Call) -> Forecast:
    """Return the forecast of an answer as long as `max_tokens`, or as is usual."""
    usage = Usage(call.request.size + call.references, call.request.max_tokens or ASSUMED)
    return Forecast(1, replace(usage, cost=info(call.model).cost(usage)), usage.output_tokens, None)


def fold(stages: Iterable[Iterable[Ask]], references: int | None = 0) -> Forecast:
    """Return the forecast of calls in stages: each reads what all calls of the stage before wrote."""
    forecast = Forecast()
    for stage in stages:
        made = [call(references) for call in stage]
        forecast = forecast.then(*made)
        references = total(INSTRUCTION, *(one.written for one in made))
    return forecast


def forecast(model: Model, request: Request, leaf: Leaf = assumed, references: int = 0) -> Forecast:
    """Return what a call will use. `references` are tokens that it reads besides the request."""
    return _forecast(Call(model, request, references, mixture=model.name, asked=request.size + references), leaf)


def forecast_stages(
    layers: Iterable[Iterable[Model]],
    answering: Model | None,
    request: Request,
    leaf: Leaf = assumed,
    *,
    name: str = "",
    references: int = 0,
    outer: int = 0,
) -> Forecast:
    """Return what the layers of a mixture and its answer will use.

    `references` are the tokens of references that the first layer reads, `outer` those that the mixture itself was
    given and that every layer reads.
    """
    question = Request(request.messages)

    def calls(models: Iterable[Model], request: Request, role: Role) -> list[Ask]:
        def one(model: Model) -> Ask:
            call = Call(model, request, outer, role, name, question.size + outer)
            return lambda read: _forecast(replace(call, references=outer + (read or 0)), leaf)

        return [one(model) for model in models]

    answer = [calls([answering], request, "aggregator")] if answering else []
    return fold([*(calls(layer, question, "proposer") for layer in layers), *answer], references)


def _forecast(call: Call, leaf: Leaf) -> Forecast:
    model, request = unwrap_defaults(call.model, call.request)
    staged = find(model, Staged)  # type: ignore[type-abstract]
    if staged:
        layers, answering = staged.stages()
        return forecast_stages(layers, answering, request, leaf, name=model.name, outer=call.references)
    call = replace(call, model=model, request=request)
    below = children(model)
    return _forecast(replace(call, model=below[0]), leaf) if below else leaf(call)


def total(*values: Number | None) -> Number | None:
    """Return the sum, `None` if one of the values is unknown."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if len(known) == len(values) else None
