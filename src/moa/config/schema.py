"""The tables of `moa.toml`: their settings, defaults and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args
from urllib.parse import urlsplit

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from ..errors import ConfigError
from ..mixture.aggregators import Aggregator, Pick, Synthesize, Vote
from ..mixture.layer import Layer
from ..mixture.mixture import Mixture
from ..mixture.run import Strategy
from ..mixture.strategies.early_exit import EarlyExit
from ..mixture.strategies.guarded import Guarded
from ..mixture.strategies.prewarm import Prewarm
from ..mixture.strategies.staircase import Staircase
from ..model import Model, Prewarming
from ..models.scripted import Scripted
from .messages import did_you_mean, setting_error
from .network import is_loopback
from .renamed import SETTINGS, renamed_to

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
"""The reasoning effort that a client asks for."""


class Table(BaseModel):
    """A TOML table. Unknown and renamed settings are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    renamed_settings: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key, value in data.items():
                if new := cls.renamed_settings.get(key):
                    raise setting_error(key, renamed_to(new))
                if key not in cls.model_fields:
                    raise setting_error(key, f"unknown setting{did_you_mean(key, cls.model_fields)}")
                kind = cls.model_fields[key].annotation
                if isinstance(value, bool) and bool not in (kind, *get_args(kind)):
                    raise setting_error(key, f"must not be true or false, got {str(value).lower()}")
        return data


class PriceTable(Table):
    """US dollars per million tokens."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached: Annotated[float, Field(ge=0)] | None = None


class ModelTable(Table):
    """Facts about one model of a provider."""

    renamed_settings = SETTINGS["providers.NAME.models.ID"]

    context_window: Annotated[int, Field(ge=1)] | None = Field(None, description="tokens of prompt and answer together")
    price: PriceTable | None = None
    vision: bool | None = Field(None, description="whether it accepts images; default: the provider's setting")


class CircuitBreakerTable(Table):
    """When calls to a failing model are suspended, and for how long."""

    renamed_settings = SETTINGS["providers.NAME.circuit_breaker"]

    failures: Annotated[int, Field(ge=1)] = Field(5, description="consecutive failures that open the circuit")
    cooldown: Annotated[float, Field(gt=0)] = Field(30.0, description="seconds until the next attempt")


class AdaptiveTimeoutTable(Table):
    """A timeout learned for each model from its past latencies: a percentile of them times the multiplier."""

    renamed_settings = SETTINGS["mixtures.NAME.timeout"]

    percentile: Annotated[float, Field(gt=0, le=100)] = 95
    multiplier: Annotated[float, Field(gt=0)] = 1.5
    min: Annotated[float, Field(gt=0)] = Field(5.0, description="shortest timeout in seconds")
    max: Annotated[float, Field(gt=0)] = Field(
        120.0, description="longest timeout in seconds, also used until enough latencies are known"
    )


class ProviderTable(Table):
    """An endpoint with OpenAI's chat completions API."""

    renamed_settings = SETTINGS["providers.NAME"]

    base_url: Annotated[str, Field(description="begins with http:// or https://, usually ends in /v1")]
    api_key_env: str | None = Field(None, description="the environment variable that holds the key")
    max_concurrency: Annotated[int, Field(ge=1)] | None = Field(None, description="concurrent calls")
    max_loaded_models: Annotated[int, Field(ge=1, le=1)] | None = Field(
        None, description="1 if its machine holds one model at a time: calls are scheduled to avoid swapping models"
    )
    read_timeout: Annotated[float, Field(gt=0)] = Field(300.0, description="seconds without data from the server")
    attempts: Annotated[int, Field(ge=1)] = Field(3, description="attempts per call, including the first")
    circuit_breaker: CircuitBreakerTable = CircuitBreakerTable()
    cache: bool = Field(False, description="cache every answer, regardless of [store] cache")
    context_window: Annotated[int, Field(ge=1)] | None = Field(None, description="tokens, for all its models")
    price: PriceTable | None = Field(None, description="for all its models; overrides the public price tables")
    vision: bool = Field(False, description="whether its models accept images; otherwise a placeholder is sent")
    prewarm: Prewarming | None = Field(
        None,
        description="send prompts ahead to fill the prefix cache: where tokens cost nothing (free), also where they "
        "are charged (paid), or never (off); default: free on this machine if the price is 0, else off",
    )
    priced_as: str | None = Field(None, description="its name in the public price tables of genai-prices")
    unsupported: tuple[str, ...] = Field((), description="options that it rejects, such as seed")
    renamed: dict[str, str] = Field({}, description="our option name = its option name")
    headers: dict[str, str] = Field({}, description="additional HTTP headers; never a key")
    models: dict[str, ModelTable] = {}

    @property
    def prewarming(self) -> Prewarming:
        """The `prewarm` setting, or its default: on only where it certainly costs nothing."""
        if self.prewarm is not None:
            return self.prewarm
        free = self.price is not None and not self.price.input and not self.price.output
        return "free" if free and is_loopback(urlsplit(self.base_url).hostname or "") else "off"

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return _address(url, "http://127.0.0.1:9000/v1", _NO_KEYS)

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise ValueError("must be the name of an environment variable, such as MYLAB_KEY, not the key itself")
        return name

    @field_validator("headers")
    @classmethod
    def _has_no_keys(cls, headers: dict[str, str]) -> dict[str, str]:
        if any(re.search(r"auth|key|token|secret|cookie", name, re.IGNORECASE) for name in headers):
            raise ValueError(_NO_KEYS)
        return headers


_NO_KEYS = "must not contain an API key; set api_key_env to the name of an environment variable"
_NO_HEADERS = "must not contain a key; set OTEL_EXPORTER_OTLP_HEADERS"


def _address(url: str, example: str, no_keys: str) -> str:
    """Return the URL if it is HTTP and has no credentials in it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must begin with http:// or https:// and a host, such as {example}")
    if parts.username is not None:
        raise ValueError(f"{no_keys} (no user or password before an @)")
    if parts.query or parts.fragment:
        raise ValueError(f"must not have a query (?) or fragment (#); write it like {example}")
    return url


class EngineTable(Table):
    """The embedded llama.cpp engine."""

    context: Annotated[int, Field(ge=256)] = Field(8192, description="context window in tokens, shared by all calls")
    slots: Annotated[int, Field(ge=1)] = Field(6, description="concurrent calls")
    threads: Annotated[int, Field(ge=1)] | None = Field(None, description="default: the number of cores")


Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class Sampling(Table):
    """Sampling options. Unset ones are taken from the mixture, then left to the provider."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    stop: tuple[str, ...] = ()
    extra: dict[str, Any] = Field({}, description="options of some servers only, such as top_k, sent unchanged")

    @field_validator("extra")
    @classmethod
    def _is_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for key in extra:
            if key in ("model", "messages", "stream", "stream_options", "n"):
                raise setting_error(key, "cannot be set; moa sets it itself")
            if key in cls.model_fields or key == "seed":
                raise setting_error(key, "is a setting of its own; move it out of extra")
        try:
            orjson.dumps(extra)
        except TypeError as error:
            raise ValueError(f"must be valid as JSON: {error}") from None
        return extra


class MemberTable(Sampling):
    """A model in a mixture."""

    model: str
    system: str | None = Field(None, description="its own system prompt, after the caller's")
    seed: Seed | None = None
    hedge: Annotated[float, Field(gt=0)] | None = Field(
        None, description="seconds until a second, competing call is made; may double the cost"
    )
    samples: Annotated[int, Field(ge=1, le=100)] = Field(1, description="number of calls, with consecutive seeds")


class AggregatorTable(Sampling):
    """How the last proposals become one answer."""

    kind: Literal["synthesize", "pick", "vote"] = "synthesize"
    model: str | None = None
    system: str | None = None
    seed: Seed | None = None
    fallback: tuple[str, ...] = Field((), description="models to try in turn when this one fails")
    prompt: str | None = Field(None, description="instruction; {references} and {question} are filled in")
    prompt_file: str | None = Field(None, description="a file with the instruction, relative to moa.toml")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind != "vote" and self.model is None:
            raise setting_error("model", f"required for kind {self.kind!r}")
        if self.kind == "vote" and (others := self.model_fields_set - {"kind"}):
            raise setting_error(min(others), "not allowed with kind 'vote', which calls no model")
        _one_prompt(self)
        return self


def _one_prompt(table: AggregatorTable | MixtureTable) -> None:
    if table.prompt is not None and table.prompt_file is not None:
        raise setting_error("prompt_file", "prompt is set too; keep one of the two")


def _named(value: Any) -> Any:
    if not isinstance(value, (str, dict, Table)):
        raise ValueError(f"must be a model's name or a table with model = ..., got {value!r}")  # noqa: TRY004
    return {"model": value} if isinstance(value, str) else value


Member = Annotated[MemberTable, BeforeValidator(_named, json_schema_input_type=str | MemberTable)]


def _kind(value: Any) -> str:
    """Return the branch of a union that a value belongs to, so that an error is about that branch alone."""
    if isinstance(value, (list, tuple)):
        return "<list>"
    return "<table>" if isinstance(value, (dict, Table)) else "<number>"


def _with_the_aggregator(value: Any) -> Any:
    if value == 1:
        raise ValueError("must be at least 2 (the aggregator counts as a layer), got 1")
    return value


Count = Annotated[int, Field(ge=2, le=20), BeforeValidator(_with_the_aggregator), Tag("<number>")]
Layers = Annotated[Count | Annotated[tuple[tuple[Member, ...], ...], Tag("<list>")], Discriminator(_kind)]
Seconds = Annotated[float, Field(gt=0), Tag("<number>")]
Timeout = Annotated[Seconds | Annotated[AdaptiveTimeoutTable, Tag("<table>")], Discriminator(_kind)]


class EarlyExitTable(Table):
    """When proposals count as the same answer, and what is skipped then."""

    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="similarity that every two proposals must reach; 1 is identical wording"
    )
    skip: Literal["layers", "aggregator"] = Field(
        "layers", description="the remaining layers, or the aggregator as well"
    )
    judge: str | None = Field(None, description="a model that decides where the wording leaves it open")


def _threshold(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, dict, Table)):
        raise ValueError(f"must be a threshold such as 0.8 or a table such as {{ threshold = 0.8 }}, got {value!r}")  # noqa: TRY004
    return {"threshold": value} if isinstance(value, (int, float)) else value


EarlyExitSetting = Annotated[
    EarlyExitTable,
    BeforeValidator(_threshold, json_schema_input_type=Annotated[float, Field(gt=0, le=1)] | EarlyExitTable),
]


class MixtureTable(Sampling):
    """Layers of proposers, then an aggregator. Its sampling options are the defaults of its members."""

    renamed_settings = SETTINGS["mixtures.NAME"]

    description: str = ""
    proposers: tuple[Member, ...] = Field((), description="the proposers of every proposer layer")
    layers: Layers = Field(
        2, description="number of layers including the aggregator; or a list of proposers for each proposer layer"
    )
    aggregator: Annotated[AggregatorTable, BeforeValidator(_named, json_schema_input_type=str | AggregatorTable)]
    quorum: Annotated[int, Field(ge=1)] = Field(1, description="proposals that a layer needs")
    timeout: Timeout | None = Field(
        None, description="seconds per layer; or a table: learned for each model from its latencies"
    )
    grace: Annotated[float, Field(ge=0)] | None = Field(
        None, description="seconds to wait for the remaining proposals once the quorum is reached"
    )
    guard: bool = Field(True, description="fall back to the best proposal if the aggregation fails or is flawed")
    early_exit: EarlyExitSetting | None = Field(
        None, description="similarity of proposals, up to 1, from which later layers are skipped; or a table"
    )
    staircase: Annotated[int, Field(ge=16)] | None = Field(
        None, description="tokens per step; the aggregator starts on the first parts of the proposals"
    )
    reference_order: Literal["declared", "arrival", "shuffled"] | None = Field(
        None, description="order of the references; default: declared, or arrival where prompts are prewarmed"
    )
    references_in: Literal["system", "user"] = Field(
        "system", description="put references into the system message, or into the last user message"
    )
    show_model_names: bool = Field(False, description="show the models' names with their references")
    effort: dict[Effort, str] = Field({}, description="a client's reasoning_effort = the mixture or model to use")
    prompt: str | None = Field(None, description="instruction for later proposers and the aggregator")
    prompt_file: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.layers, int) and not self.proposers:
            raise setting_error("proposers", "required, unless layers is a list of lists")
        if not isinstance(self.layers, int) and self.proposers:
            raise setting_error("proposers", "layers lists proposers too; keep one of the two")
        if not self.proposer_layers:
            raise setting_error("layers", "needs at least one list of proposers, got []")
        for number, layer in enumerate(self.proposer_layers, 1):
            count = sum(member.samples for member in layer)
            if not count:
                raise setting_error(f"layers[{number - 1}]", "needs at least one proposer, got []")
            if self.quorum > count:
                raise setting_error(
                    "quorum", f"must be at most {count} (the proposals of layer {number}), got {self.quorum}"
                )
        _one_prompt(self)
        if self.early_exit:
            self._check_early_exit(self.early_exit.skip)
        self._check_strategies()
        return self

    def _check_early_exit(self, skip: str) -> None:
        if skip == "aggregator" and self.aggregator.model is None:
            raise setting_error("early_exit.skip", 'a vote makes no call that could be skipped; use skip = "layers"')
        compared = self.proposer_layers[:-1] if skip == "layers" else self.proposer_layers
        if not compared:
            raise setting_error("early_exit.skip", 'there is no second proposer layer to skip; use skip = "aggregator"')
        if all(sum(member.samples for member in layer) < 2 for layer in compared):
            raise setting_error("early_exit", "needs a layer with at least two proposals to compare")

    def strategies(self, judge: Model | None = None) -> list[Strategy]:
        """Return the strategies of this mixture. `judge` is the model that decides on an early exit."""
        strategies: list[Strategy] = [Prewarm()]
        if self.guard:
            strategies.append(Guarded())
        if self.early_exit:
            strategies.append(EarlyExit(self.early_exit.threshold, self.early_exit.skip, judge))
        if self.staircase is not None:
            strategies.append(Staircase(self.staircase))
        return strategies

    def _check_strategies(self) -> None:
        """Have the engine check the strategies, with a placeholder for every model."""
        model = Scripted("placeholder", "")
        kinds: dict[str, Aggregator] = {"synthesize": Synthesize(model), "pick": Pick(model), "vote": Vote()}
        sizes = [sum(member.samples for member in layer) for layer in self.proposer_layers]
        layers = [Layer([model] * size, order=self.reference_order) for size in sizes]
        try:
            Mixture(layers, kinds[self.aggregator.kind], strategies=self.strategies())
        except ConfigError as error:
            if error.setting is None:
                raise ValueError(str(error)) from error
            raise setting_error(error.setting, str(error).removeprefix(f"{error.setting}: ")) from error

    @property
    def proposer_layers(self) -> tuple[tuple[MemberTable, ...], ...]:
        """The proposers of each proposer layer."""
        return (self.proposers,) * (self.layers - 1) if isinstance(self.layers, int) else self.layers

    @property
    def references(self) -> Iterator[str]:
        """The names of all models that it calls."""
        for layer in self.proposer_layers:
            yield from (member.model for member in layer)
        if self.aggregator.model:
            yield self.aggregator.model
        yield from self.aggregator.fallback
        if self.early_exit and self.early_exit.judge:
            yield self.early_exit.judge


class ServerTable(Table):
    """`moa serve`."""

    renamed_settings = SETTINGS["server"]

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    max_concurrency: Annotated[int, Field(ge=1)] = Field(256, description="concurrent requests")
    max_queue: Annotated[int, Field(ge=0)] = Field(256, description="waiting requests; further ones get a 429")
    show_proposals: Literal["fields", "think", "details", "off"] = Field(
        "fields", description="how proposals are shown to a client while it waits for the answer"
    )
    provenance: bool = Field(False, description="report in every reply which proposals its sentences come from")
    utility_prompts: tuple[str, ...] = Field(
        ("### Task:", "Generate a title for this conversation"),
        description="prefixes of a client's own requests (titles, tags), which only the aggregator answers",
    )
    aliases: dict[str, str] = Field({}, description="a name that clients send, * as a wildcard = the model to use")
    sse_ping_interval: Annotated[float, Field(gt=0)] = Field(
        5.0, description="seconds without data until a stream sends a comment"
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(32 * 2**20, description="size limit of a request's body")
    shutdown_timeout: Annotated[float, Field(gt=0)] = Field(
        600.0, description="seconds that running answers have when the server stops"
    )
    keys_env: str | None = Field(None, description="environment variable with client keys, separated by commas")
    keys_file: str | None = Field(None, description="file with client keys, as moa keys add writes it")
    allow_unauthenticated: bool = Field(False, description="serve other machines without a key")
    allowed_hosts: tuple[str, ...] = Field((), description="additional host names that clients may use")
    allowed_origins: tuple[str, ...] = Field((), description="web origins that may use the API from a browser")
    log_format: Literal["text", "json"] = Field("text", description="format of a line of the log")


class StoreTable(Table):
    """The stored runs and the cached answers."""

    renamed_settings = SETTINGS["store"]

    enabled: bool = Field(True, description="store runs")
    path: str | None = Field(None, description="the file; default: runs.sqlite in the user's state folder")
    store_content: bool = Field(True, description="store prompts and answers; otherwise only their length")
    max_age_days: Annotated[float, Field(gt=0)] | None = Field(None, description="older runs are deleted")
    max_size_mb: Annotated[float, Field(gt=0)] | None = Field(
        1000, description="the oldest runs are deleted when all of them take more megabytes"
    )
    cache: Literal["seeded", "all", "off"] = Field(
        "seeded", description="calls whose answers are cached: those with a seed or temperature 0, all, or none"
    )


class TelemetryTable(Table):
    """Export of traces and metrics to OpenTelemetry."""

    renamed_settings = SETTINGS["telemetry"]

    enabled: bool = Field(True, description="false sends nothing, regardless of the environment")
    endpoint: str | None = Field(
        None, description="OTLP endpoint (HTTP), such as http://127.0.0.1:4318; default: $OTEL_EXPORTER_OTLP_*"
    )
    metrics: bool = Field(False, description="send metrics as well")
    content: bool | None = Field(
        None,
        description="send prompts and answers as well; default: $OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    )
    propagate: bool = Field(True, description="send the traceparent of each call to the provider")

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return url if url is None else _address(url, "http://127.0.0.1:4318", _NO_HEADERS)
