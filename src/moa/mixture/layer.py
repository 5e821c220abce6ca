"""A layer: models that answer the same request side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigError
from ..model import Model
from ..prompts.prompt import AGGREGATE, Prompt
from ..span import Span
from ..types import Request, Response
from .adaptive_timeout import AdaptiveTimeout
from .collector import Order, ProposalCollector, ProposalObserver


@dataclass(frozen=True)
class Layer:
    """Models that answer the same request side by side.

    `timeout` is how long the layer waits, in seconds, or an `AdaptiveTimeout` that learns it for each model. `quorum`
    is the number of proposals it needs by then, `grace` how long it waits for the others once it has them, in seconds.
    A proposer that fails or is late loses its proposal, which the trace shows. With fewer proposals than `quorum` the
    layer fails, with every cause.

    `order` is that of the references made of its proposals: by default as declared, or as an observer decides, such as
    the order in which they are prewarmed. `prompt` shows the layer's own proposers the proposals of the layer before.
    """

    proposers: Sequence[Model]
    quorum: int = 1
    timeout: float | AdaptiveTimeout | None = None
    grace: float | None = None
    order: Order | None = None
    prompt: Prompt = AGGREGATE

    def __post_init__(self) -> None:
        if isinstance(self.proposers, str):
            raise ConfigError(f"proposers: must be a sequence of models, got the string {self.proposers!r}")
        object.__setattr__(self, "proposers", tuple(self.proposers))
        for proposer in self.proposers:
            if isinstance(proposer, str):
                raise ConfigError(
                    f"proposers: must be models, got {proposer!r}; moa.get_model({proposer!r}) returns one"
                )
        count = len(self.proposers)
        if not count:
            raise ConfigError("proposers: a layer needs at least one, got none")
        if not 1 <= self.quorum <= count:
            raise ConfigError(f"quorum: must be 1 to {count} (the number of proposers), got {self.quorum}")
        if isinstance(self.timeout, (int, float)) and not self.timeout > 0:
            raise ConfigError(f"timeout: must be greater than 0 seconds, got {self.timeout}")
        if self.grace is not None and self.grace < 0:
            raise ConfigError(f"grace: must be at least 0 seconds, got {self.grace}")

    async def propose(
        self,
        request: Request,
        references: Sequence[Response],
        span: Span,
        number: int,
        closes_at: float | None = None,
        observer: ProposalObserver | None = None,
    ) -> tuple[Response, ...]:
        """Return the proposals. Raises `LayerError` if they are fewer than the quorum. See `ProposalCollector`."""
        return await ProposalCollector(self, number, request, references, span, closes_at, observer).collect()
