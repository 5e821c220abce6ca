"""A client's reasoning effort as the size of a mixture."""

from __future__ import annotations

from dataclasses import replace

from ...config.schema import Effort
from ...mixture.mixture import Mixture
from ..service import RunRequest, Service


def sized(service: Service, name: str, asked: RunRequest, effort: Effort | None) -> tuple[RunRequest, list[str]]:
    """The request to the mixture or model that is meant by this effort, and the options that have no effect.

    A mixture says in its table `effort` which other one is meant; a single model is told the effort itself.
    """
    if effort is None:
        return asked, []
    if asked.model is not service.model(name):  # only housekeeping, which takes no effort
        return asked, ["reasoning_effort"]
    if not isinstance(asked.model, Mixture):
        extra = {**asked.request.extra, "reasoning_effort": effort}
        return replace(asked, request=replace(asked.request, extra=extra)), []
    table = service.builder.config.mixtures[asked.model.name.removeprefix("moa:")]
    meant = table.effort.get(effort)
    if meant is None:
        return asked, ["reasoning_effort"]
    return replace(asked, model=service.builder.model(meant)), []
