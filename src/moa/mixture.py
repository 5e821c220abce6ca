"""A mixture of agents (Wang et al. 2024, arXiv 2406.04692): layers of proposers, then an aggregator.

A mixture is a model made of models, so mixtures nest. The paper counts the aggregator as the last layer, and so do we
wherever layers are counted: "3 layers" is two layers of proposers and one aggregator.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .aggregators import Aggregator
from .errors import ConfigError, LayerError, Lost, MissingKey, ModelError
from .model import Model, Span, check
from .prompts import AGGREGATE, Prompt
from .reading import read
from .types import Request, Response

Order = Literal["declared", "arrival", "shuffled"]
"""The order in which proposals are handed on. Shuffled is decided by the seed and the question, so it repeats."""


@dataclass(frozen=True)
class Layer:
    """Models that answer the same request side by side.

    `deadline` is how long the layer waits, in seconds; `quorum` how many proposals it must have by then. A proposer
    that fails, or is late, is lost, visibly; with fewer than `quorum` proposals the layer fails, with every cause.
    `prompt` is how the proposers of a later layer are shown the proposals of the layer before.
    """

    proposers: Sequence[Model]
    quorum: int = 1
    deadline: float | None = None
    order: Order = "declared"
    prompt: Prompt = AGGREGATE

    def __post_init__(self) -> None:
        if isinstance(self.proposers, str):
            raise ConfigError(f"proposers must be a sequence of models, not the string {self.proposers!r}")
        object.__setattr__(self, "proposers", tuple(self.proposers))
        if not self.proposers:
            raise ConfigError("a layer needs at least one proposer")
        if not 1 <= self.quorum <= len(self.proposers):
            raise ConfigError(f"quorum is {self.quorum}, but the layer has {len(self.proposers)} proposer(s)")
        if self.deadline is not None and not self.deadline > 0:
            raise ConfigError(f"deadline must be more than 0 seconds, not {self.deadline}")

    async def propose(
        self, request: Request, references: Sequence[Response], span: Span, number: int
    ) -> tuple[Response, ...]:
        """The proposals of this layer, the `number`-th of its mixture. Raises `LayerError` below the quorum."""
        arrived: dict[int, Response] = {}  # in order of arrival
        lost: dict[int, Exception | str] = {}

        async def ask(index: int, model: Model) -> None:
            try:
                arrived[index] = await read(
                    model, self.prompt, request, references, section, role="proposer", layer=number, index=index
                )
            except (ModelError, TimeoutError) as error:  # a bug is not a failed proposal
                lost[index] = error

        deadline = None if self.deadline is None else span.run.now() + self.deadline
        with span.section("layer", f"layer {number}", layer=number, deadline=deadline) as section:
            pending = {asyncio.create_task(ask(index, model)) for index, model in enumerate(self.proposers)}
            finishing = asyncio.create_task(section.run.finishing.wait())
            reason = None
            try:
                while pending and not (reason := self._closing(section, arrived, lost)):
                    waiting = pending if finishing.done() else {*pending, finishing}
                    done, _ = await asyncio.wait(
                        waiting, timeout=section.remaining, return_when=asyncio.FIRST_COMPLETED
                    )
                    pending -= done
                    for call in done:
                        call.result()
            finally:
                for call in (*pending, finishing):
                    call.cancel(reason or "cancelled")
                await asyncio.gather(*pending, finishing, return_exceptions=True)
            lost |= {i: reason or "cancelled" for i in range(len(self.proposers)) if i not in arrived and i not in lost}
            for index in sorted(lost):
                section.note("lost", model=self.proposers[index].name, index=index, error=_words(lost[index]))
            if len(arrived) < (1 if section.run.finishing.is_set() else self.quorum):
                raise self._failed(number, len(arrived), lost)
        return tuple(arrived[index] for index in self._ordered(arrived, request, number))

    def _closing(self, section: Span, arrived: dict[int, Response], lost: dict[int, Exception | str]) -> str | None:
        """Why the proposers that have not answered are not waited for any longer, or `None` to wait on."""
        if section.remaining is not None and section.remaining <= 0:
            return f"no answer within {self.deadline:g} s" if self.deadline else "no answer before the deadline"
        if section.run.finishing.is_set() and arrived:
            return "not waited for: the run was told to finish"
        possible = len(self.proposers) - len(lost)
        if possible < self.quorum:
            return f"not waited for: {self.quorum} proposals are needed and only {possible} were possible"
        return None

    def _ordered(self, arrived: Iterable[int], request: Request, number: int) -> list[int]:
        if self.order == "arrival":
            return list(arrived)
        order = sorted(arrived)
        if self.order == "shuffled":
            random.Random(f"{request.seed}/{number}/{request.question}").shuffle(order)  # noqa: S311
        return order

    def _failed(self, number: int, count: int, lost: dict[int, Exception | str]) -> LayerError:
        unset = all(isinstance(error, MissingKey) for error in lost.values())
        return LayerError(
            f"layer {number}: {count} of {len(self.proposers)} proposers answered, {self.quorum} needed",
            lost=[Lost(self.proposers[index].name, number, _words(lost[index])) for index in sorted(lost)],
            exit_code=2 if unset else 1,
        )


@dataclass(frozen=True)
class Mixture:
    """Layers of proposers and an aggregator that answer as one model.

    The caller's conversation reaches every stage. The caller's sampling options, tools and response format belong to
    the aggregator, whose words are the answer; proposers have options of their own (see `Tuned`) and share the seed.
    """

    layers: Sequence[Layer]
    aggregator: Aggregator
    name: str = "mixture"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ConfigError("a mixture needs at least one layer of proposers")

    def check(self) -> None:
        """Raise what would stop the aggregator, before anything is paid for proposals it could not read."""
        for model in self.aggregator.models:
            check(model)

    async def generate(self, request: Request, span: Span) -> Response:
        self.check()
        question = Request(request.messages, seed=request.seed)
        references: tuple[Response, ...] = ()
        for number, layer in enumerate(self.layers, 1):
            if references and span.run.finishing.is_set():
                break
            references = await layer.propose(question, references, span, number)
        answer = await self.aggregator.aggregate(request, references, span)
        return replace(answer, model=self.name, references=references)


def _words(cause: Exception | str) -> str:
    return str(cause) or type(cause).__name__
