"""Build models and mixtures from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from ..costs.prices import Price
from ..errors import ConfigError
from ..mixture.adaptive_timeout import AdaptiveTimeout, LatencyHistory
from ..mixture.aggregators import Aggregator, Pick, Synthesize, Vote
from ..mixture.collector import Order
from ..mixture.layer import Layer
from ..mixture.mixture import Mixture
from ..model import Model, WithDefaults
from ..paths import cache_folder, expanded
from ..prompts.prompt import CHOOSE, SYNTHESIZE, Prompt
from ..wrappers.cache import Cache, Cached
from ..wrappers.circuit_breaker import BreakerState, CircuitBreaker
from ..wrappers.fallback import Fallback
from ..wrappers.hedge import Hedged
from ..wrappers.limiter import Limited, Limiter
from ..wrappers.retry import Retried
from .load import Config
from .schema import (
    AdaptiveTimeoutTable,
    AggregatorTable,
    MemberTable,
    MixtureTable,
    ModelTable,
    PriceTable,
    ProviderTable,
    Sampling,
)


class Builder:
    """Makes the models of one configuration. Models of one provider share its limit of concurrent calls.

    Every single model stores its answers in `cache`, if one is given. A provider without a limit of its own
    gets `max_concurrency`, a mixture without an order of its own `reference_order`.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        cache: Cache | None = None,
        *,
        max_concurrency: int | None = None,
        reference_order: Order | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self._cache = cache
        self._reference_order = reference_order
        self._around: Callable[[Model, str], Model] | None = None
        self._limiters = {
            name: Limiter(table.max_concurrency or max_concurrency, one_model=table.max_loaded_models is not None)
            for name, table in config.providers.items()
            if table.max_concurrency or max_concurrency or table.max_loaded_models or table.prewarming != "off"
        }
        self.latencies = LatencyHistory(file=cache_folder() / "latencies.json")
        self.breakers: dict[str, BreakerState] = {}
        self._built: dict[str, Model] = {}

    def around(self, around: Callable[[Model, str], Model]) -> Builder:
        """Return a builder of the same configuration that wraps the model at each endpoint, a base URL."""
        builder = copy(self)
        builder._around, builder._built = around, {}
        return builder

    def model(self, name: str) -> Model:
        """Return the model or mixture of a name. Raises `ConfigError` if there is none."""
        provider, model = self.config.resolve(name)
        full = f"{provider}:{model}"
        if full not in self._built:
            if provider == "moa":
                self._built[full] = self.mixture(full, self.config.mixtures[model])
            elif provider in ("local", "gguf"):
                self._built[full] = self._cached(self._embedded(full, provider, model))
            else:
                self._built[full] = self._endpoint(full, provider, model)
        return self._built[full]

    def _endpoint(self, name: str, provider: str, model: str) -> Model:
        """Return the model behind an endpoint with its wrappers, of which the order matters."""
        table = self.config.providers[provider]
        breaker = table.circuit_breaker
        self.breakers[name] = BreakerState(breaker.failures, breaker.cooldown)
        endpoint = self._openai(name, table, model)
        if self._around:  # innermost, so that no other wrapper stores or reports what it hides
            endpoint = self._around(endpoint, table.base_url)
        if provider in self._limiters:  # within retries: a call that waits to be retried leaves its place to others
            endpoint = Limited(endpoint, self._limiters[provider])
        endpoint = CircuitBreaker(endpoint, self.breakers[name])  # an open circuit fails without waiting for a place
        if table.attempts > 1:  # around the circuit breaker, so that every attempt counts
            endpoint = Retried(endpoint, table.attempts)
        return self._cached(endpoint, table.cache)  # outermost: a stored answer needs no call

    def _openai(self, name: str, table: ProviderTable, model: str) -> Model:
        from ..models.openai.model import OpenAI

        own = table.models.get(model, ModelTable())
        price = own.price or table.price
        return OpenAI(
            model,
            table.base_url,
            name,
            api_key_env=table.api_key_env,
            timeout=table.read_timeout,
            context_window=own.context_window or table.context_window,
            price=_price(price) if price else None,
            priced_as=table.priced_as,
            unsupported=table.unsupported,
            renamed=table.renamed,
            headers=table.headers,
            vision=table.vision if own.vision is None else own.vision,
            prewarming=table.prewarming,
        )

    def _cached(self, model: Model, always: bool = False) -> Model:
        if self._cache is None:
            return Cached(model) if always else model
        return Cached(model, self._cache, always)

    def _embedded(self, name: str, provider: str, model: str) -> Model:
        from ..models.llamacpp.model import LlamaCpp
        from ..models.llamacpp.weights import SMOLLM2

        engine = self.config.engine
        source = SMOLLM2 if provider == "local" else expanded(model)
        return LlamaCpp(source, name, context=engine.context, slots=engine.slots, threads=engine.threads)

    def mixture(self, name: str, table: MixtureTable) -> Mixture:
        """Return the mixture of a table, which need not be in the configuration."""
        prompt = Prompt(self._instruction(table, SYNTHESIZE), table.references_in, table.show_model_names)
        layers = [
            Layer(
                [model for member in members for model in self._proposers(member, table)],
                table.quorum,
                self._timeout(table),
                table.grace,
                table.reference_order or self._reference_order,
                prompt,
            )
            for members in table.proposer_layers
        ]
        aggregator = self._aggregator(table.aggregator, table, prompt)
        return Mixture(layers, aggregator, name, strategies=table.strategies(self._judge(table)))

    def _judge(self, table: MixtureTable) -> Model | None:
        name = table.early_exit and table.early_exit.judge
        return _tuned(self.model(name), None, None, _options(table, table)) if name else None

    def _timeout(self, table: MixtureTable) -> float | AdaptiveTimeout | None:
        learned = table.timeout
        if not isinstance(learned, AdaptiveTimeoutTable):
            return learned
        return AdaptiveTimeout(
            learned.percentile, learned.multiplier, learned.min, learned.max, latencies=self.latencies
        )

    def _proposers(self, member: MemberTable, mixture: MixtureTable) -> Sequence[Model]:
        options = _options(member, mixture)
        model = self.model(member.model)
        if member.hedge is not None:
            model = Hedged(model, member.hedge)
        seed = 0 if member.seed is None and member.samples > 1 else member.seed
        return [
            _tuned(model, member.system, None if seed is None else seed + n, options) for n in range(member.samples)
        ]

    def _aggregator(self, table: AggregatorTable, mixture: MixtureTable, prompt: Prompt) -> Aggregator:
        if table.kind == "vote" or table.model is None:
            return Vote()
        options = _options(table, mixture)
        chain = [_tuned(self.model(name), table.system, table.seed, options) for name in (table.model, *table.fallback)]
        model = Fallback(chain) if table.fallback else chain[0]
        if table.kind == "pick":
            choose = Prompt(self._instruction(table, CHOOSE), mixture.references_in, mixture.show_model_names)
            return Pick(model, Synthesize(model, prompt), choose)
        own = Prompt(self._instruction(table, prompt.instruction), mixture.references_in, mixture.show_model_names)
        return Synthesize(model, own)

    def check(self) -> None:
        """Read every prompt file, without building a model. Raises `ConfigError`."""
        for mixture in self.config.mixtures.values():
            for table in (mixture, mixture.aggregator):
                self._instruction(table, "")

    def _instruction(self, table: MixtureTable | AggregatorTable, default: str) -> str:
        if table.prompt_file is None:
            return table.prompt or default
        path = self.folder / expanded(table.prompt_file)
        try:
            return path.read_text("utf-8-sig")
        except OSError as error:
            raise ConfigError(f"prompt_file {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"prompt_file {path}: not UTF-8: {error.reason}") from error


def _options(member: Sampling, mixture: MixtureTable) -> dict[str, Any]:
    """Return a member's sampling options: its own, or else its mixture's, one by one also within `extra`."""
    own = member.model_fields_set
    options = {key: getattr(member if key in own else mixture, key) for key in Sampling.model_fields}
    return {**options, "extra": {**mixture.extra, **member.extra}}


def _tuned(model: Model, system: str | None, seed: int | None, options: dict[str, Any]) -> Model:
    tuned = WithDefaults(model, system=system, seed=seed, **options)
    return model if tuned == WithDefaults(model) else tuned


def _price(table: PriceTable) -> Price:
    return Price(table.input, table.output, table.cached)
