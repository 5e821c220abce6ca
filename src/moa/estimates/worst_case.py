"""The most that one question can use of a model: how many calls, and how many US dollars."""

from __future__ import annotations

from dataclasses import replace

from ..config.load import Config
from ..config.schema import AggregatorTable, MemberTable, MixtureTable, ModelTable
from ..costs import prices
from ..costs.forecast import Ask, Forecast, fold, total
from ..types import Usage

QUESTION = 1000
"""Tokens of the assumed question."""

ASSUMED = f"a question of {QUESTION:,} tokens, every answer as long as its max_tokens, no call repeated"


def bound(config: Config, name: str, read: int | None = QUESTION, write: int | None = None) -> Forecast:
    """Return the most that one question can use. `read` is the length of the prompt, `write` the most of an answer.

    Both are in tokens. The cost is `None` if something is unknown, and `unknown` says what.
    """
    provider, model = config.resolve(name)
    if provider == "moa":
        most = fold(_stages(config, config.mixtures[model], read, write))
        return replace(most, unknown=tuple(dict.fromkeys(most.unknown)))
    if provider in ("local", "gguf"):
        return _call(0.0, write or config.engine.context // (config.engine.slots + 1))
    table = config.providers[provider]
    price = table.models.get(model, ModelTable()).price or table.price
    own = prices.Price(price.input, price.output, price.cached) if price else None
    if prices.cost(Usage(1, 1), model, table.priced_as, own) is None:
        return _call(None, write, f"the price of {name}")
    if own and not own.input and not own.output:
        return _call(0.0, write)
    if write is None:
        return _call(None, write, f"max_tokens of {name}")
    if read is None:
        return _call(None, write)  # what is unknown was named for the layer before
    return _call(prices.cost(Usage(read, write), model, table.priced_as, own), write)


def _stages(config: Config, table: MixtureTable, asked: int | None, write: int | None) -> list[list[Ask]]:
    """Return the stages of a mixture that is asked this many tokens. A judge reads what the next stage reads."""

    def ask(model: str, write: int | None) -> Ask:
        return lambda references: bound(config, model, total(asked, references), write)

    def proposer(member: MemberTable) -> Ask:
        once = ask(member.model, _max_tokens(member, table))
        return (lambda references: _hedged(once(references))) if member.hedge else once

    def judge(model: str) -> Ask:
        return lambda references: replace(ask(model, table.max_tokens)(references), written=0)

    stages = [[proposer(one) for one in layer for _ in range(one.samples)] for layer in table.proposer_layers]
    answering = table.aggregator.model
    if answering is not None:  # a vote calls no model
        answer = ask(answering, write or _max_tokens(table.aggregator, table))
        stages.append([_in_steps(answer, ask(answering, table.staircase), table) if table.staircase else answer])
    if table.early_exit and table.early_exit.judge:
        asking = stages[1:] if table.early_exit.skip == "aggregator" else stages[1 : len(table.proposer_layers)]
        for stage in asking:
            stage.append(judge(table.early_exit.judge))
    return stages


def _hedged(once: Forecast) -> Forecast:
    return replace(once, usage=Usage(cost=None if once.cost is None else 2 * once.cost))


def _in_steps(answer: Ask, step: Ask, table: MixtureTable) -> Ask:
    """Return the calls of a staircase: before the last one, each may read all there is, what is written too.

    Where the length of a proposal is unknown, so is the number of steps.
    """
    longest = [_max_tokens(member, table) for member in table.proposer_layers[-1]]
    steps = None if None in longest else -(-max(filter(None, longest), default=0) // (table.staircase or 1))

    def ask(references: int | None) -> Forecast:
        last = answer(references)
        once = step(total(references, last.written))
        if steps is None and once.cost != 0:
            return last.then(_call(None, last.written, "the number of steps", calls=0))
        cost = None if once.cost is None else (steps or 0) * once.cost
        return last.then(_call(cost, last.written, *once.unknown, calls=(steps or 0) * once.calls))

    return ask


def _call(cost: float | None, write: int | None, *unknown: str, calls: int = 1) -> Forecast:
    return Forecast(calls, Usage(cost=cost), write, unknown=unknown)


def _max_tokens(own: MemberTable | AggregatorTable, table: MixtureTable) -> int | None:
    return own.max_tokens if "max_tokens" in own.model_fields_set else table.max_tokens
