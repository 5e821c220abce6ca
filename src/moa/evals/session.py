"""An evaluation by names: its models built, their calls remembered, its results folder begun or gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from ..api import get_builder
from ..batch import AT_ONCE
from ..config.build import Builder
from ..config.download import ensure
from ..errors import ConfigError
from ..model import Model, check
from ..optional import needs
from ..sinks import EventSink
from ..store.cache import FILE as CALLS
from ..store.cache import SQLiteCache
from ..store.settings import answers_beside, keeping
from ..store.store import FILE as RUNS
from ..store.store import Store
from .manifest import identity, manifest, price, single
from .results_folder import Folder
from .runner import Progress, Results, check_needs, evaluate
from .task import Task
from .tasks.jsonl import Part

RESULTS = Path("results")
"""Where results folders are, unless one is named."""


@dataclass(frozen=True)
class EvalSpec:
    """What is to be evaluated, by names. `out` is the results folder; without it, one that belongs to exactly this.

    `at_once` calls go to a provider at the same time that has no limit of its own. `spend` is in US dollars.
    """

    benchmark: Task
    models: Sequence[str]
    judge: str | None = None
    seed: int = 0
    limit: int | None = None
    out: Path | None = None
    at_once: int = AT_ONCE
    spend: float | None = None
    traced: bool = True
    config: Path | None = None


@dataclass(frozen=True)
class Session:
    """An evaluation that is going on. It can be run again with more models, for what is there is not asked again."""

    asked: EvalSpec
    benchmark: Task
    builder: Builder
    folder: Folder
    judge: Model | None
    emit: EventSink | None

    async def run(self, models: Mapping[str, Model], tell: Callable[[Progress], None]) -> Results:
        """Evaluate these models."""
        return await evaluate(
            self.benchmark,
            models,
            judge=self.judge,
            folder=self.folder,
            seed=self.asked.seed,
            at_once=self.asked.at_once,
            spend=self.asked.spend,
            tell=tell,
            emit=self.emit,
        )

    @property
    def models(self) -> dict[str, Model]:
        """The models that were named."""
        return {name: self.builder.model(name) for name in self.asked.models}


@contextmanager
def session(asked: EvalSpec) -> Iterator[Session]:
    """Begin an evaluation, or go on with it. Raises `ConfigError` before anything is asked."""
    with needs("eval"):
        import_module("scipy")  # before anything is paid for, not when it comes to the figures
    plain = get_builder(asked.config)
    names = [_full(plain, name) for name in asked.models]
    judge = _full(plain, asked.judge) if asked.judge else None
    everybody = [*names, *([judge] if judge else [])]
    if len(set(names)) < len(names):
        raise ConfigError(f"{next(name for name in names if names.count(name) > 1)} is named twice")
    check_needs(asked.benchmark, len(names), judge is not None)
    benchmark = Part(asked.benchmark, asked.limit, asked.seed) if asked.limit else asked.benchmark
    _check_prices(plain, everybody, asked.spend)
    for name in everybody:
        check(plain.model(name))
        ensure(plain.config, name)
    told = manifest(plain, benchmark, names, judge, asked.seed)
    path = asked.out or RESULTS / f"{benchmark.name}-{identity(told)}"
    folder = Folder.begin(path, told, benchmark.samples)
    with _calls(plain, folder) as calls, Store(path / RUNS) as store:
        # in the order of arrival, cached answers would be read in another order than at first
        builder = Builder(plain.config, plain.folder, calls, max_concurrency=asked.at_once, reference_order="declared")
        yield Session(
            replace(asked, models=names, judge=judge),
            benchmark,
            builder,
            folder,
            builder.model(judge) if judge else None,
            store.emit if asked.traced else None,
        )


def _full(builder: Builder, name: str) -> str:
    return ":".join(builder.config.resolve(name))


def _check_prices(builder: Builder, names: Sequence[str], spend: float | None) -> None:
    """A cap is kept only where every price is known."""
    if spend is None:
        return
    leaves = dict.fromkeys(leaf for name in names for leaf in single(builder.config, name))
    if unknown := [leaf for leaf in leaves if price(builder.config, leaf) is None]:
        words = f"the price of {unknown[0]} is not known, so --max-cost cannot be kept"
        raise ConfigError(f"{words}; give it in moa.toml: price = {{ input = ..., output = ... }}")


@contextmanager
def _calls(builder: Builder, folder: Folder) -> Iterator[SQLiteCache]:
    """Where calls are remembered, every one of them: beside the runs, or with the results where no runs are kept."""
    store = keeping(builder.config.store)
    path = answers_beside(store) if store and builder.config.store.store_content else folder.path / CALLS
    with SQLiteCache(
        path, "all", days=builder.config.store.max_age_days, megabytes=builder.config.store.max_size_mb
    ) as calls:
        yield calls
