"""The tables of `moa.toml`: what may be said in each, and what is wrong in itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, get_args
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

from ..model import PrefixCache
from .messages import did_you_mean
from .network import is_loopback

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
"""How hard a client wants a model to think."""


class Table(BaseModel):
    """A TOML table whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown setting {key!r}{did_you_mean(key, cls.model_fields)}")
                kind = cls.model_fields[key].annotation
                if isinstance(data[key], bool) and bool not in (kind, *get_args(kind)):
                    raise ValueError(f"{key} cannot be {str(data[key]).lower()}")
        return data


class PriceTable(Table):
    """US dollars per million tokens."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached: Annotated[float, Field(ge=0)] | None = None


class ModelTable(Table):
    """What is known of one model of a provider."""

    context_window: Annotated[int, Field(ge=1)] | None = Field(None, description="tokens it reads and writes at once")
    price: PriceTable | None = None
    images: bool | None = Field(None, description="whether it sees images; default: what its provider says")


class CircuitBreakerTable(Table):
    """When a model that keeps failing is left alone, and for how long."""

    failures: Annotated[int, Field(ge=1)] = Field(5, description="in a row")
    rest: Annotated[float, Field(gt=0)] = Field(30.0, description="seconds until it is tried again")


class AdaptiveTimeoutTable(Table):
    """A deadline learned for each model from how long it took before."""

    percentile: Annotated[float, Field(gt=0, le=100)] = 95
    factor: Annotated[float, Field(gt=0)] = 1.5
    floor: Annotated[float, Field(gt=0)] = Field(5.0, description="seconds waited in any case")
    cap: Annotated[float, Field(gt=0)] = Field(120.0, description="seconds waited at most, and while little is known")


class ProviderTable(Table):
    """An endpoint that speaks OpenAI's chat completions."""

    base_url: Annotated[str, Field(description="begins with http:// or https://, usually ends in /v1")]
    api_key_env: str | None = Field(None, description="the environment variable that holds the key")
    max_concurrency: Annotated[int, Field(ge=1)] | None = Field(None, description="calls at the same time")
    one_gpu: bool = Field(False, description="it holds one model at a time: ask its models one after another")
    timeout: Annotated[float, Field(gt=0)] = Field(300.0, description="seconds the upstream may say nothing")
    attempts: Annotated[int, Field(ge=1)] = Field(3, description="how often a call is tried in all")
    breaker: CircuitBreakerTable = CircuitBreakerTable()
    cache: bool = Field(False, description="remember every answer, whatever [store] says of calls")
    context_window: Annotated[int, Field(ge=1)] | None = Field(None, description="tokens, for all its models")
    price: PriceTable | None = Field(None, description="for all its models, before the public price tables")
    images: bool = Field(False, description="whether its models see images; others are told that there was one")
    prefix_cache: PrefixCache | None = Field(
        None,
        description="read prompts ahead: for nothing (warm), for money (paid), or not (none); "
        "default: warm on this machine where tokens cost nothing, else none",
    )
    priced_as: str | None = Field(None, description="its name in the public price tables of genai-prices")
    unsupported: tuple[str, ...] = Field((), description="options it refuses, such as seed")
    renamed: dict[str, str] = Field({}, description="our option name = its option name")
    headers: dict[str, str] = Field({}, description="further HTTP headers; never a key")
    models: dict[str, ModelTable] = {}

    @property
    def reads_ahead(self) -> PrefixCache:
        """Whether its models are given prompts to read ahead; unasked only where that surely costs nothing."""
        if self.prefix_cache is not None:
            return self.prefix_cache
        free = self.price is not None and not self.price.input and not self.price.output
        return "warm" if free and is_loopback(urlsplit(self.base_url).hostname or "") else "none"

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
    def _hold_no_keys(cls, headers: dict[str, str]) -> dict[str, str]:
        if any(re.search(r"auth|key|token|secret|cookie", name, re.IGNORECASE) for name in headers):
            raise ValueError(_NO_KEYS)
        return headers


_NO_KEYS = "a key is never written down; name its environment variable with api_key_env"
_NO_HEADERS = "a key is never written down; say it in OTEL_EXPORTER_OTLP_HEADERS"


def _address(url: str, example: str, no_keys: str) -> str:
    """An address over HTTP, without a key in it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must begin with http:// or https:// and a host, such as {example}")
    if parts.username is not None:
        raise ValueError(f"{no_keys} (nothing before an @)")
    if parts.query or parts.fragment:
        raise ValueError(f"must end with its path, as {example} does; a ? or # has no place in it")
    return url


class EngineTable(Table):
    """llama.cpp in this process."""

    context: Annotated[int, Field(ge=256)] = Field(8192, description="tokens held at once, by all calls together")
    slots: Annotated[int, Field(ge=1)] = Field(6, description="calls answered side by side")
    threads: Annotated[int, Field(ge=1)] | None = Field(None, description="default: the number of cores")


Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class Sampling(Table):
    """How a model answers. What is not said is left to the mixture, then to the provider."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    stop: tuple[str, ...] = ()
    extra: dict[str, Any] = Field({}, description="options only some servers know, such as top_k, sent as they are")

    @field_validator("extra")
    @classmethod
    def _is_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for key in extra:
            if key in ("model", "messages", "stream", "stream_options", "n"):
                raise ValueError(f"{key} cannot be set; it is what moa itself says to a model")
            if key in cls.model_fields or key == "seed":
                raise ValueError(f"{key} has a place of its own, beside extra")
        try:
            orjson.dumps(extra)
        except TypeError as error:
            raise ValueError(f"cannot be written as JSON: {error}") from None
        return extra


class MemberTable(Sampling):
    """A model in a mixture."""

    model: str
    system: str | None = Field(None, description="its own instruction, after the caller's system message")
    seed: Seed | None = None
    hedge: Annotated[float, Field(gt=0)] | None = Field(
        None, description="ask again after so many seconds; may cost twice"
    )
    samples: Annotated[int, Field(ge=1, le=100)] = Field(1, description="ask it this often, with seeds in a row")


class AggregatorTable(Sampling):
    """What makes one answer of the last proposals."""

    kind: Literal["synthesize", "pick", "vote"] = "synthesize"
    model: str | None = None
    system: str | None = None
    seed: Seed | None = None
    fallback: tuple[str, ...] = Field((), description="models to ask, in turn, when this one fails")
    prompt: str | None = Field(None, description="instruction; {references} and {question} are filled in")
    prompt_file: str | None = Field(None, description="the same from a file, beside this one")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind != "vote" and self.model is None:
            raise ValueError(f"a {self.kind} aggregator needs a model")
        if self.kind == "vote" and len(self.model_fields_set) > 1:
            raise ValueError("a vote asks no model; it takes no other setting than kind")
        if self.prompt is not None and self.prompt_file is not None:
            raise ValueError("give prompt or prompt_file, not both")
        return self


def _named(value: Any) -> Any:
    if not isinstance(value, (str, dict, Table)):
        raise ValueError(f"must be a model's name or a table with model = ..., not {value!r}")  # noqa: TRY004
    return {"model": value} if isinstance(value, str) else value


Member = Annotated[MemberTable, BeforeValidator(_named, json_schema_input_type=str | MemberTable)]


def _kind(value: Any) -> str:
    """Which branch of a union a value is meant for, so that an error speaks of that branch alone."""
    if isinstance(value, (list, tuple)):
        return "<list>"
    return "<table>" if isinstance(value, (dict, Table)) else "<number>"


def _with_the_aggregator(value: Any) -> Any:
    if value == 1:
        raise ValueError("counts the aggregator too, so it is at least 2: one layer of proposers, and the aggregator")
    return value


Count = Annotated[int, Field(ge=2, le=20), BeforeValidator(_with_the_aggregator), Tag("<number>")]
Layers = Annotated[Count | Annotated[tuple[tuple[Member, ...], ...], Tag("<list>")], Discriminator(_kind)]
Seconds = Annotated[float, Field(gt=0), Tag("<number>")]
Deadline = Annotated[Seconds | Annotated[AdaptiveTimeoutTable, Tag("<table>")], Discriminator(_kind)]


class EarlyExitTable(Table):
    """When proposals count as the same answer, and what is skipped then."""

    threshold: Annotated[float, Field(gt=0, le=1)] = Field(0.8, description="that any two must be alike; 1: same words")
    skip: Literal["layers", "aggregator"] = Field(
        "layers", description="the layers that are left, or the aggregator too"
    )
    judge: str | None = Field(None, description="a model that is asked where the words leave it in doubt")


def _threshold(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, dict, Table)):
        raise ValueError(f"must be a threshold such as 0.8, or a table with threshold = 0.8, not {value!r}")  # noqa: TRY004
    return {"threshold": value} if isinstance(value, (int, float)) else value


Agree = Annotated[
    EarlyExitTable,
    BeforeValidator(_threshold, json_schema_input_type=Annotated[float, Field(gt=0, le=1)] | EarlyExitTable),
]


class MixtureTable(Sampling):
    """Layers of proposers, then an aggregator. Its sampling options are the defaults of all its members."""

    description: str = ""
    proposers: tuple[Member, ...] = Field((), description="the proposers of every proposer layer")
    layers: Layers = Field(
        2, description="how many layers, the aggregator counted; or lists of proposers, the aggregator not among them"
    )
    aggregator: Annotated[AggregatorTable, BeforeValidator(_named, json_schema_input_type=str | AggregatorTable)]
    quorum: Annotated[int, Field(ge=1)] = Field(1, description="proposals a layer must have")
    deadline: Deadline | None = Field(None, description="seconds, per layer; or a table: learned for each model")
    grace: Annotated[float, Field(ge=0)] | None = Field(
        None, description="seconds waited for the others once the quorum is there"
    )
    guard: bool = Field(True, description="give the best proposal when the aggregation fails or is plainly flawed")
    agree: Agree | None = Field(
        None, description="similarity of proposals, up to 1, from which later layers are skipped; or a table"
    )
    staircase: Annotated[int, Field(ge=16)] | None = Field(
        None, description="tokens of a step; the aggregator begins on the first parts of the proposals"
    )
    order: Literal["declared", "arrival", "shuffled"] | None = Field(
        None, description="of the references; default: declared, or arrival where they are read ahead"
    )
    place: Literal["system", "end"] = Field("system", description="references: in the system message, or at the end")
    names: bool = Field(False, description="show the models' names with their references")
    effort: dict[Effort, str] = Field({}, description="a client's reasoning_effort = the mixture or model that answers")
    prompt: str | None = Field(None, description="instruction of proposers in later layers, and of the aggregator")
    prompt_file: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.layers, int) and not self.proposers:
            raise ValueError("needs proposers = [...], or layers = [[...], ...]")
        if not isinstance(self.layers, int) and self.proposers:
            raise ValueError("proposers are listed in layers already; give one of the two")
        if not self.proposer_layers:
            raise ValueError("layers is empty; it needs at least one list of proposers")
        for number, layer in enumerate(self.proposer_layers, 1):
            count = sum(member.samples for member in layer)
            if not count:
                raise ValueError(f"layer {number} has no proposers")
            if self.quorum > count:
                raise ValueError(f"quorum is {self.quorum}, but layer {number} has {count} proposer(s)")
        if self.prompt is not None and self.prompt_file is not None:
            raise ValueError("give prompt or prompt_file, not both")
        if self.agree:
            self._may_leave_early(self.agree.skip)
        if self.staircase is not None:
            self._may_begin_early()
        return self

    def _may_leave_early(self, skip: str) -> None:
        if skip == "aggregator" and self.aggregator.model is None:
            raise ValueError('agree: a vote asks no model, so there is no call to skip; say skip = "layers"')
        asked = self.proposer_layers[:-1] if skip == "layers" else self.proposer_layers
        if not asked:
            raise ValueError('agree: there is one layer of proposers, so none to skip; say skip = "aggregator"')
        if all(sum(member.samples for member in layer) < 2 for layer in asked):
            raise ValueError("agree: takes two proposals, and no layer that it is asked of has two proposers")

    def _may_begin_early(self) -> None:
        if self.aggregator.kind != "synthesize":
            raise ValueError(f"staircase: a {self.aggregator.kind} needs whole proposals; leave out one of the two")
        if self.agree and self.agree.skip == "aggregator":
            raise ValueError('staircase: the aggregator has begun before agree could skip it; say skip = "layers"')
        if self.order not in (None, "declared"):
            raise ValueError(f"staircase: parts are shown as declared, so order cannot be {self.order}")

    @property
    def proposer_layers(self) -> tuple[tuple[MemberTable, ...], ...]:
        """The lists of proposers, layer by layer."""
        return (self.proposers,) * (self.layers - 1) if isinstance(self.layers, int) else self.layers

    @property
    def references(self) -> Iterator[str]:
        """The names of all models it asks."""
        for layer in self.proposer_layers:
            yield from (member.model for member in layer)
        if self.aggregator.model:
            yield self.aggregator.model
        yield from self.aggregator.fallback
        if self.agree and self.agree.judge:
            yield self.agree.judge


class ServerTable(Table):
    """`moa serve`."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    at_once: Annotated[int, Field(ge=1)] = Field(256, description="requests answered at the same time")
    queue: Annotated[int, Field(ge=0)] = Field(256, description="requests that may wait beyond that; more get a 429")
    proposals: Literal["fields", "think", "details", "off"] = Field(
        "fields", description="how proposals are shown while a client waits"
    )
    provenance: bool = Field(False, description="say in every reply which proposals its sentences come from")
    utility: tuple[str, ...] = Field(
        ("### Task:", "Generate a title for this conversation"),
        description="openings of requests (titles, tags) that go to the aggregator alone",
    )
    aliases: dict[str, str] = Field({}, description="a name that clients send, * for any letters = the model meant")
    keep_alive: Annotated[float, Field(gt=0)] = Field(5.0, description="seconds of silence before a comment is sent")
    max_body: Annotated[int, Field(ge=1024)] = Field(32 * 2**20, description="bytes of a request's body")
    drain: Annotated[float, Field(gt=0)] = Field(600.0, description="seconds running answers get when it stops")
    keys_env: str | None = Field(None, description="environment variable with client keys, separated by commas")
    keys_file: str | None = Field(None, description="file of client keys: lines made by moa keys add")
    open: bool = Field(False, description="answer off loopback without keys")
    hosts: tuple[str, ...] = Field((), description="further host names it may be called by")
    origins: tuple[str, ...] = Field((), description="web origins that may call it from a browser")
    log: Literal["text", "json"] = Field("text", description="the form of a line of the log")


class StoreTable(Table):
    """The runs that are kept, and the answers that are remembered."""

    off: bool = Field(False, description="keep nothing")
    path: str | None = Field(None, description="the file; default: runs.sqlite in the user's state folder")
    text: bool = Field(True, description="keep the words; else only how long they were")
    days: Annotated[float, Field(gt=0)] | None = Field(None, description="older runs are removed")
    megabytes: Annotated[float, Field(gt=0)] | None = Field(
        1000, description="the oldest runs are removed when all of them take more"
    )
    calls: Literal["seeded", "all", "off"] = Field(
        "seeded", description="calls whose answers are remembered: those with a seed or temperature 0, all, or none"
    )


class TelemetryTable(Table):
    """What is sent to OpenTelemetry."""

    off: bool = Field(False, description="send nothing, whatever the environment says")
    endpoint: str | None = Field(
        None, description="where OTLP is taken over HTTP, such as http://127.0.0.1:4318; default: $OTEL_EXPORTER_OTLP_*"
    )
    metrics: bool = Field(False, description="send metrics there too")
    content: bool | None = Field(
        None,
        description="also what was asked and answered; default: $OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    )
    propagate: bool = Field(True, description="give upstreams the traceparent of each call")

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return url if url is None else _address(url, "http://127.0.0.1:4318", _NO_HEADERS)
