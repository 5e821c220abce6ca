"""What one question asks of a model at most: how many calls, and how many US dollars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from ..config.load import Config
from ..config.schema import AggregatorTable, MemberTable, MixtureTable, ModelTable
from ..costs import prices
from ..types import Usage

Number = TypeVar("Number", int, float)

QUESTION = 1000
"""Tokens of the question that is reckoned with."""

INSTRUCTION = 200
"""Tokens of the instruction that the references come with."""

ASSUMED = f"a question of {QUESTION:,} tokens, every answer as long as its max_tokens, no call repeated"


@dataclass(frozen=True, slots=True)
class Bound:
    """`cost` is `None` when something is unknown: `unknown` says what. `output` is in tokens."""

    calls: int = 0
    cost: float | None = 0.0
    output: int | None = 0
    unknown: tuple[str, ...] = ()

    def __add__(self, other: Bound) -> Bound:
        unknown = tuple(dict.fromkeys((*self.unknown, *other.unknown)))
        return Bound(self.calls + other.calls, _sum(self.cost, other.cost), _sum(self.output, other.output), unknown)


def bound(config: Config, name: str, read: int | None = QUESTION, write: int | None = None) -> Bound:
    """The most that one question can use. `read` is how many tokens are asked, `write` how many may be answered."""
    provider, model = config.resolve(name)
    if provider == "moa":
        return _mixture(config, config.mixtures[model], read, write)
    if provider in ("local", "gguf"):
        return Bound(1, 0.0, write or config.engine.context // (config.engine.slots + 1))
    table = config.providers[provider]
    price = table.models.get(model, ModelTable()).price or table.price
    own = prices.Price(price.input, price.output, price.cached) if price else None
    if prices.cost(Usage(1, 1), model, table.priced_as, own) is None:
        return Bound(1, None, write, (f"the price of {name}",))
    if own and not own.input and not own.output:
        return Bound(1, 0.0, write)
    if write is None:
        return Bound(1, None, write, (f"max_tokens of {name}",))
    if read is None:
        return Bound(1, None, write)  # what it does not know was said of the layer before
    return Bound(1, prices.cost(Usage(read, write), model, table.priced_as, own), write)


def _mixture(config: Config, table: MixtureTable, asked: int | None, write: int | None) -> Bound:
    """Each layer reads the question and all that the layer before it wrote."""
    total, read = Bound(), asked
    last = len(table.proposer_layers)
    for number, members in enumerate(table.proposer_layers, 1):
        layer = Bound()
        for member in members:
            once = _member(config, member, table, read)
            for _ in range(member.samples):
                layer += once
        total += layer
        read = _sum(asked, layer.output, INSTRUCTION)
        if table.early_exit and table.early_exit.judge and (table.early_exit.skip == "aggregator" or number < last):
            total += bound(config, table.early_exit.judge, read, table.max_tokens)
    if table.aggregator.model is None:
        return total  # a vote asks nobody; its answer is a proposal
    answer = _aggregator(config, table.aggregator.model, table, read, write)
    if table.staircase:
        total += _steps(config, table.aggregator.model, table, table.staircase, _sum(read, answer.output))
    return replace(total + answer, output=answer.output)


def _steps(config: Config, model: str, table: MixtureTable, step: int, read: int | None) -> Bound:
    """The calls before the last one, of an aggregator that begins early: each may read all there is, its own words too.

    Where nobody knows how long proposals may become, neither does anybody know how many steps they are.
    """
    once = bound(config, model, read, step)
    longest = [_max_tokens(member, table) for member in table.proposer_layers[-1]]
    if None in longest:
        free = once.cost == 0
        return replace(once, calls=0, cost=0.0 if free else None, unknown=() if free else ("the number of steps",))
    steps = -(-max(filter(None, longest), default=0) // step)
    return replace(once, calls=steps * once.calls, cost=None if once.cost is None else steps * once.cost)


def _member(config: Config, member: MemberTable, table: MixtureTable, read: int | None) -> Bound:
    once = bound(config, member.model, read, _max_tokens(member, table))
    doubled = bool(member.hedge) and once.cost is not None
    return replace(once, cost=2 * (once.cost or 0)) if doubled else once


def _aggregator(config: Config, model: str, table: MixtureTable, read: int | None, write: int | None) -> Bound:
    return bound(config, model, read, write or _max_tokens(table.aggregator, table))


def _max_tokens(own: MemberTable | AggregatorTable, table: MixtureTable) -> int | None:
    return own.max_tokens if "max_tokens" in own.model_fields_set else table.max_tokens


def _sum(*values: Number | None) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if len(known) == len(values) else None
