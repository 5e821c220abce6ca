"""A mixture that is tried: proposers with their samples, layers, an aggregator; or a model alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...config.build import Builder
from ...config.schema import MixtureTable
from ...model import Model


@dataclass(frozen=True, slots=True)
class Candidate:
    """Proposers, each with its samples, and an aggregator, which `layers` counts too; without one, a model alone.

    An aggregator of the kind "pick" gives one of the proposals as it is.
    """

    proposers: tuple[tuple[str, int], ...]
    aggregator: str | None = None
    layers: int = 2
    kind: Literal["synthesize", "pick"] = "synthesize"

    @property
    def name(self) -> str:
        """In words: `a x3 + b -> c`; three layers are said, and an aggregator that picks."""
        asked = " + ".join(f"{model} x{samples}" if samples > 1 else model for model, samples in self.proposers)
        deeper = f", {self.layers} layers" if self.aggregator and self.layers > 2 else ""
        picks = " picks" if self.kind == "pick" else ""
        return f"{asked} -> {self.aggregator}{picks}{deeper}" if self.aggregator else asked

    def table(self) -> dict[str, Any]:
        """As a mixture of moa.toml. A model alone is none."""
        members = [model if samples == 1 else {"model": model, "samples": samples} for model, samples in self.proposers]
        aggregator = self.aggregator if self.kind == "synthesize" else {"kind": self.kind, "model": self.aggregator}
        deeper = {"layers": self.layers} if self.layers > 2 else {}
        return {"proposers": members, "aggregator": aggregator, **deeper}

    def model(self, builder: Builder) -> Model:
        """What answers as it says. Raises `ConfigError` where a name is none."""
        if self.aggregator is None:
            return builder.model(self.proposers[0][0])
        return builder.mixture(self.name, MixtureTable.model_validate(self.table()))
