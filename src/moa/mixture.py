"""A mixture of agents (Wang et al. 2024, arXiv 2406.04692): layers of proposers, then an aggregator.

A mixture is a model made of models, so mixtures nest. The paper counts the aggregator as the last layer, and so do we
wherever layers are counted: "3 layers" is two layers of proposers and one aggregator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .aggregators import Aggregator
from .errors import ConfigError
from .layer import Layer
from .model import Span, check
from .types import Request, Response


@dataclass(frozen=True)
class Mixture:
    """Layers of proposers and an aggregator that answer as one model.

    The caller's conversation reaches every stage. The caller's sampling options, tools and response format belong to
    the aggregator, whose words are the answer; proposers have options of their own (see `Tuned`) and share the seed.
    A conversation that ends with what a tool gave back goes to the aggregator alone.
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
        acting = request.messages[-1].role == "tool"  # what a tool gave back is for the model that called it
        for number, layer in enumerate(() if acting else self.layers, 1):
            if references and span.run.finishing.is_set():
                break
            references = await layer.propose(question, references, span, number)
        answer = await self.aggregator.aggregate(request, references, span)
        return replace(answer, model=self.name, references=references)
