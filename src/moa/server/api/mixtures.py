"""/api/mixtures: each mixture as a graph, with its calls and their cost at most; and the check of drafts."""

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
from ...errors import ConfigError
from ...estimates.worst_case import ASSUMED, bound
from ...mixture.mixture import Mixture
from ..auth.keys import Denied, caller
from ..errors import route
from ..http import InvalidParam, json, parse
from ..schemas import Operation
from ..service import ModelNotFound, Service

DRAFT = "draft:"
"""The prefix of a draft's name in its runs, which keeps them out of the statistics of mixtures."""

MAX_CALLS = 200
"""The most calls of a draft. A mixture in moa.toml is its owner's choice; a request's is not."""


class DraftBody(Table):
    """A mixture that is not in moa.toml: `toml` with one table [mixtures.NAME], or a `table` and its `name`."""

    toml: Annotated[str, Field(max_length=200_000)] | None = None
    table: dict[str, Any] | None = None
    name: str = Field("draft", description="the name of the table")

    def draft(self, config: Config) -> Draft:
        """Return the draft. Raises `ConfigError`."""
        if (self.toml is None) == (self.table is None):
            raise InvalidParam("draft", "give either toml or table")
        draft = of_toml(config, self.toml) if self.toml is not None else of_table(config, self.name, self.table or {})
        _check_calls(sum(member.samples for layer in draft.table.proposer_layers for member in layer))
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
                raise InvalidParam("prompt_file", f"no mixture of yours uses this file, got {file!r}; use prompt")
        _check_calls(bound(draft.config, f"moa:{draft.name}").calls)
        return service.builder.mixture(f"{DRAFT}{draft.name}", draft.table)


def _check_calls(calls: int) -> None:
    if calls > MAX_CALLS:
        raise InvalidParam("draft", f"at most {MAX_CALLS} calls for one question, got {calls}")


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
        "Return the mixtures as graphs, with the calls of a question and their cost at most",
        MixturesJSON,
    ),
    Operation("get", "/api/mixtures/{name}", "Return one mixture", MixtureJSON),
    Operation(
        "post",
        "/api/mixtures/check",
        "Check a mixture like a moa.toml, and return its TOML",
        CheckedJSON,
        DraftBody,
    ),
)


def routes(service: Service) -> list[Route]:
    """GET /api/mixtures, GET /api/mixtures/{name}, POST /api/mixtures/check."""

    async def all_mixtures(http: HTTPRequest) -> HTTPResponse:
        config = service.builder.config
        names = [name for name in config.mixtures if _may(name)]
        graphs = await service.in_thread(lambda: [graph(config, name, config.mixtures[name]) for name in names])
        return json({"default": config.default, "mixtures": graphs})

    async def one(http: HTTPRequest) -> HTTPResponse:
        config, name = service.builder.config, http.path_params["name"]
        if name not in config.mixtures:
            raise ModelNotFound(f"mixture {name!r} not found")
        if not _may(name):
            raise Denied(f"model: this key may not use {name}", 403)
        return json(await service.in_thread(graph, config, name, config.mixtures[name]))

    async def check(http: HTTPRequest) -> HTTPResponse:
        body = await parse(http, DraftBody)
        return json(await service.in_thread(_checked, body, service.builder.config))

    return [
        route("/api/mixtures", all_mixtures),
        route("/api/mixtures/check", check, "POST"),
        route("/api/mixtures/{name}", one),
    ]


def graph(config: Config, name: str, mixture: MixtureTable) -> MixtureJSON:
    """Return a mixture as its layers, with its explicit settings, the calls of a question and their cost at most."""
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


def _settings(one: Sampling, exclude: set[str]) -> dict[str, Any]:
    settings: dict[str, Any] = one.model_dump(mode="json", exclude_unset=True, exclude_none=True, exclude=exclude)
    return settings


def _checked(body: DraftBody, config: Config) -> CheckedJSON:
    try:
        draft = body.draft(config)
    except ConfigError as error:
        return {"valid": False, "error": str(error), "mixture": None}
    return {"valid": True, "error": None, "mixture": graph(draft.config, draft.name, draft.table)}


def _may(name: str) -> bool:
    key = caller.get()
    return key is None or key.may(f"moa:{name}")
