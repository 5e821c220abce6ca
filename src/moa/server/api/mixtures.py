"""/api/mixtures: each as the graph it is, with its calls and their cost at most; and drafts, checked before they are
tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from ...config.draft import Draft, as_table, of_table, of_toml, written
from ...config.load import Config
from ...config.schema import AggregatorTable, MemberTable, MixtureTable, Sampling, Table
from ...errors import ConfigError, RequestError
from ...estimates.worst_case import ASSUMED, bound
from ...mixture.mixture import Mixture
from ..auth.keys import Denied, caller
from ..errors import route
from ..http import json, parse
from ..schemas import Operation
from ..service import ModelNotFound, Service

DRAFT = "draft:"
"""How the name of a draft begins in its runs, so that nothing counts them as those of a mixture."""

MOST_CALLS = 200
"""Calls of a draft at most: what a moa.toml may say is its owner's choice, what a request may say is not."""


class DraftBody(Table):
    """A mixture that is not in moa.toml: as `toml`, one table [mixtures.NAME], or as a `table` and its `name`."""

    toml: Annotated[str, Field(max_length=200_000)] | None = None
    table: dict[str, Any] | None = None
    name: str = Field("draft", description="what the table is called")

    def draft(self, config: Config) -> Draft:
        """Raises `ConfigError`."""
        if (self.toml is None) == (self.table is None):
            raise RequestError("give toml or table, one of the two")
        draft = of_toml(config, self.toml) if self.toml is not None else of_table(config, self.name, self.table or {})
        _bounded(sum(member.samples for layer in draft.table.proposer_layers for member in layer))
        return draft

    def mixture(self, service: Service) -> Mixture:
        """Return the draft as a mixture.

        Raises `ConfigError`, or `ModelNotFound` or `Denied` for a model that the caller may not use.
        """
        config = service.builder.config
        draft = self.draft(config)
        for name in draft.table.references:
            service.model(name)
        named = {file for name, one in config.mixtures.items() if _may(name) for file in _files(one)}
        for file in _files(draft.table):
            if file not in named:
                raise RequestError(f"prompt_file {file!r}: no mixture of yours in moa.toml names it; say prompt")
        _bounded(bound(draft.config, f"moa:{draft.name}").calls)
        return service.builder.mixture(f"{DRAFT}{draft.name}", draft.table)


def _bounded(calls: int) -> None:
    if calls > MOST_CALLS:
        raise RequestError(f"the draft makes {calls} calls for one question; a draft makes at most {MOST_CALLS}")


def _files(mixture: MixtureTable) -> Iterator[str]:
    yield from (one.prompt_file for one in (mixture, mixture.aggregator) if one.prompt_file is not None)


class MemberJSON(TypedDict):
    model: str
    samples: int
    calls: int
    settings: dict[str, Any]


class AggregatorJSON(TypedDict):
    kind: Literal["synthesize", "pick", "vote"]
    model: str | None
    fallback: list[str]
    calls: int
    settings: dict[str, Any]


class MixtureJSON(TypedDict):
    """A mixture as a graph, with the calls of one question and their cost at most."""

    name: str
    description: str
    layers: list[list[MemberJSON]]
    aggregator: AggregatorJSON
    settings: dict[str, Any]
    calls: int
    cost: float | None
    unknown: list[str]
    assumed: str
    table: dict[str, Any]
    toml: str


class MixturesJSON(TypedDict):
    default: str
    mixtures: list[MixtureJSON]


class CheckedJSON(TypedDict):
    valid: bool
    error: str | None
    mixture: MixtureJSON | None


OPERATIONS = (
    Operation(
        "get",
        "/api/mixtures",
        "Draw the mixtures, with the calls of a question and their cost at most",
        MixturesJSON,
    ),
    Operation("get", "/api/mixtures/{name}", "Draw one mixture", MixtureJSON),
    Operation(
        "post",
        "/api/mixtures/check",
        "Check a mixture as moa.toml would be, and write its TOML",
        CheckedJSON,
        DraftBody,
    ),
)


def routes(service: Service) -> list[Route]:
    """GET /api/mixtures, GET /api/mixtures/{name}, POST /api/mixtures/check."""

    async def listing(http: HTTPRequest) -> HTTPResponse:
        config = service.builder.config
        names = [name for name in config.mixtures if _may(name)]
        told = await service.in_thread(lambda: [drawn(config, name, config.mixtures[name]) for name in names])
        return json({"default": config.default, "mixtures": told})

    async def one(http: HTTPRequest) -> HTTPResponse:
        config, name = service.builder.config, http.path_params["name"]
        if name not in config.mixtures:
            raise ModelNotFound(f"no mixture {name!r}")
        if not _may(name):
            raise Denied(f"this key may not use {name}", 403)
        told = await service.in_thread(drawn, config, name, config.mixtures[name])
        return json(told)

    async def check(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, DraftBody)
        told = await service.in_thread(_checked, body, service.builder.config)
        return json(told)

    return [
        route("/api/mixtures", listing),
        route("/api/mixtures/check", check, "POST"),
        route("/api/mixtures/{name}", one),
    ]


def drawn(config: Config, name: str, mixture: MixtureTable) -> MixtureJSON:
    """A mixture as its layers, with the settings that are said, the calls of a question and their cost at most."""
    most = bound(config, f"moa:{name}")
    return {
        "name": name,
        "description": mixture.description,
        "layers": [[_member(config, one) for one in layer] for layer in mixture.proposer_layers],
        "aggregator": _aggregator(config, mixture.aggregator),
        "settings": _settings(mixture, {"description", "proposers", "layers", "aggregator"}),
        "calls": most.calls,
        "cost": most.cost,
        "unknown": list(most.unknown),
        "assumed": ASSUMED,
        "table": as_table(mixture),
        "toml": written(name, mixture),
    }


def _member(config: Config, one: MemberTable) -> MemberJSON:
    return {
        "model": one.model,
        "samples": one.samples,
        "calls": one.samples * bound(config, one.model).calls,
        "settings": _settings(one, {"model", "samples"}),
    }


def _aggregator(config: Config, one: AggregatorTable) -> AggregatorJSON:
    return {
        "kind": one.kind,
        "model": one.model,
        "fallback": list(one.fallback),
        "calls": bound(config, one.model).calls if one.model else 0,
        "settings": _settings(one, {"kind", "model", "fallback"}),
    }


def _settings(one: Sampling, apart: set[str]) -> dict[str, Any]:
    told: dict[str, Any] = one.model_dump(mode="json", exclude_unset=True, exclude_none=True, exclude=apart)
    return told


def _checked(body: DraftBody, config: Config) -> CheckedJSON:
    try:
        draft = body.draft(config)
    except ConfigError as error:
        return {"valid": False, "error": str(error), "mixture": None}
    return {"valid": True, "error": None, "mixture": drawn(draft.config, draft.name, draft.table)}


def _may(name: str) -> bool:
    key = caller.get()
    return key is None or key.may(f"moa:{name}")
