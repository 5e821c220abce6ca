"""Resolves a client's request to a run: which model, with which overrides and effort, and how proposals are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from ...budget import Budget
from ...config.renamed import SETTINGS
from ...config.schema import Effort, Table
from ...mixture.mixture import Mixture
from ...model import Model
from ...types import Request
from ..http import InvalidParam
from ..service import RunRequest, Service, Show


class BudgetTable(Table):
    """The limits of one request."""

    dollars: Annotated[float, Field(gt=0)] | None = None
    tokens: Annotated[int, Field(gt=0)] | None = Field(None, description="read and written by all calls")
    seconds: Annotated[float, Field(gt=0)] | None = None


class Overrides(Table):
    """The `moa` object of a request: settings of the mixture for this request. Unknown ones are rejected."""

    renamed_settings = SETTINGS["moa"]

    quorum: Annotated[int, Field(ge=1)] | None = Field(None, description="proposals that a layer needs")
    timeout: Annotated[float, Field(gt=0)] | None = Field(None, description="seconds per layer")
    grace: Annotated[float, Field(ge=0)] | None = Field(None, description="seconds to wait after the quorum")
    layers: Annotated[int, Field(ge=1)] | None = Field(None, description="the most layers, including the aggregator")
    budget: BudgetTable | None = Field(None, description="limits; the mixture makes fewer calls to keep them")
    show_proposals: Show | None = Field(None, description="how proposals are shown before the answer")
    provenance: bool | None = Field(None, description="attribute each sentence of the answer to proposals")


def shown(overrides: Overrides | None, default: Show | None = None) -> Show | None:
    """Return how a request wants proposals shown, else `default`. `None` leaves it to the server's configuration."""
    return (overrides and overrides.show_proposals) or default


def resolve(
    service: Service,
    model: str | Mixture,
    request: Request,
    *,
    effort: Effort | None = None,
    effort_of_models: bool = True,
    overrides: Overrides | None = None,
    show: Show | None = None,
    stream: bool = False,
) -> RunRequest:
    """Return the run that a client's request asks for.

    `model` is a name, or a draft. A request that only does a client's housekeeping goes to the aggregator alone.
    `effort` selects the mixture that the table `effort` of the named one maps it to; a single model receives it as an
    option, unless `effort_of_models` is false. `show` is the client's choice, `None` for the server's.
    Raises `ModelNotFound`, `Denied` or `RequestError`.
    """
    chosen = service.model(model) if isinstance(model, str) else model
    unused: tuple[str, ...] = ()
    if isinstance(chosen, Mixture) and isinstance(model, str) and service.is_utility(request):
        chosen = (chosen.aggregator.models or chosen.layers[0].proposers)[0]
        unused = ("reasoning_effort",) if effort else ()
    elif effort and isinstance(chosen, Mixture):
        sized = _of_effort(service, chosen, effort) if isinstance(model, str) else None
        chosen, unused = (sized, ()) if sized else (chosen, ("reasoning_effort",))
    elif effort and effort_of_models:
        request = replace(request, extra={**request.extra, "reasoning_effort": effort})
    provenance = service.table.provenance
    if overrides:
        chosen = _reshaped(chosen, overrides)
        provenance = provenance if overrides.provenance is None else overrides.provenance
    if request.extra.get("logprobs") and isinstance(chosen, Mixture) and not chosen.aggregator.models:
        raise InvalidParam("logprobs", f"{chosen.name} votes, so no model writes its answer; remove logprobs")
    return RunRequest(chosen, request, stream, show or service.table.show_proposals, provenance, unused)


def _of_effort(service: Service, mixture: Mixture, effort: Effort) -> Model | None:
    """Return the mixture or model that a mixture's table `effort` names, or `None`."""
    name = service.builder.config.mixtures[mixture.name.removeprefix("moa:")].effort.get(effort)
    return service.builder.model(name) if name else None


def _reshaped(model: Model, overrides: Overrides) -> Model:
    settings = overrides.model_dump(exclude_none=True, exclude={"show_proposals", "provenance"})
    if not settings:
        return model
    if not isinstance(model, Mixture):
        raise InvalidParam(f"moa.{next(iter(settings))}", f"needs a mixture, got the single model {model.name}")
    limits = settings.pop("budget", None)
    budget = Budget(**limits) if limits else model.budget
    count = settings.pop("layers", None)
    if count == 1:
        return (model.aggregator.models or model.layers[0].proposers)[0]
    layers = model.layers if count is None else model.layers[: count - 1]
    for layer in layers:
        if settings.get("quorum", 1) > len(layer.proposers):
            raise InvalidParam(
                "moa.quorum", f"the layer has {len(layer.proposers)} proposers, got {settings['quorum']}"
            )
    return replace(model, layers=[replace(layer, **settings) for layer in layers], budget=budget)
