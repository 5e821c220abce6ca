"""What one request may change of a mixture, in its `moa` object."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from ...budget import Budget
from ...config.schema import Table
from ...errors import RequestError
from ...mixture.mixture import Mixture
from ...model import Model
from ..service import RunRequest, Show


class BudgetTable(Table):
    """The most that one request may use."""

    dollars: Annotated[float, Field(gt=0)] | None = None
    tokens: Annotated[int, Field(gt=0)] | None = Field(None, description="read and written by all calls")
    seconds: Annotated[float, Field(gt=0)] | None = None


class Overrides(Table):
    """Settings of one request. Unknown ones are refused."""

    quorum: Annotated[int, Field(ge=1)] | None = Field(None, description="proposals a layer must have")
    deadline: Annotated[float, Field(gt=0)] | None = Field(None, description="seconds, per layer")
    grace: Annotated[float, Field(ge=0)] | None = Field(None, description="seconds waited once the quorum is there")
    layers: Annotated[int, Field(ge=1)] | None = Field(None, description="at most so many, the aggregator counted")
    budget: BudgetTable | None = Field(None, description="what it may use; the mixture shrinks to keep within it")
    proposals: Show | None = Field(None, description="how proposals are shown while you wait")
    provenance: bool | None = Field(None, description="say which proposals each sentence of the answer comes from")


def overridden(asked: RunRequest, overrides: Overrides | None) -> RunRequest:
    """What is asked, as this request wants it. Raises `RequestError` where that cannot be."""
    if not overrides:
        return asked
    provenance = asked.provenance if overrides.provenance is None else overrides.provenance
    return replace(asked, model=_reshaped(asked.model, overrides), provenance=provenance)


def _reshaped(model: Model, overrides: Overrides) -> Model:
    wanted = overrides.model_dump(exclude_none=True, exclude={"proposals", "provenance"})
    if not wanted:
        return model
    if not isinstance(model, Mixture):
        raise RequestError(f"moa.{next(iter(wanted))}: {model.name} is one model, not a mixture")
    limits = wanted.pop("budget", None)
    budget = Budget(**limits) if limits else model.budget
    count = wanted.pop("layers", None)
    if count == 1:
        return (model.aggregator.models or model.layers[0].proposers)[0]
    layers = model.layers if count is None else model.layers[: count - 1]
    for layer in layers:
        if wanted.get("quorum", 1) > len(layer.proposers):
            raise RequestError(f"moa.quorum: {wanted['quorum']} of {len(layer.proposers)} proposers cannot be had")
    return replace(model, layers=[replace(layer, **wanted) for layer in layers], budget=budget)
