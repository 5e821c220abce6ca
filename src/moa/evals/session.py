"""An evaluation by names: resolves them once into an `EvalSpec`, and opens the call cache and the results folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..api import MAX_CONCURRENCY, get_builder
from ..config.build import Builder
from ..config.download import Progress as DownloadProgress
from ..config.download import ensure, silent
from ..config.load import Config
from ..errors import ConfigError
from ..model import Model, check
from ..optional import needs
from ..sinks import EventSink
from ..store.cache import FILE as CALLS
from ..store.cache import SQLiteCache
from ..store.settings import answers_beside, keeping
from ..store.store import FILE as RUNS
from ..store.store import Store
from .manifest import ManifestEntry, Price, describe, identity, manifest
from .results_folder import ResultsFolder
from .runner import Progress, Results, check_needs, evaluate
from .task import Task
from .tasks.registry import TaskSubset

RESULTS = Path("results")
"""The default parent of results folders."""


@dataclass(frozen=True)
class ModelUnderTest:
    """A model by its full name, built, with its manifest entry."""

    name: str
    model: Model
    entry: ManifestEntry

    @property
    def price(self) -> Price | None:
        """US dollars per million tokens of a single model; `None` if unknown, and for a mixture."""
        return self.entry.prices.get(self.name)


@dataclass(frozen=True)
class EvalSpec:
    """An evaluation: a task, models, a judge, where results go, and its limits.

    At most `max_concurrency` questions run at the same time, and as many calls to a provider without a limit of its
    own. `max_cost` is in US dollars, over all restarts.
    """

    task: Task
    models: tuple[ModelUnderTest, ...]
    judge: ModelUnderTest | None
    folder: ResultsFolder
    seed: int = 0
    max_concurrency: int = MAX_CONCURRENCY
    max_cost: float | None = None

    def model(self, name: str) -> ModelUnderTest:
        """Return the model with this full name."""
        return next(model for model in self.models if model.name == name)


@dataclass(frozen=True)
class Session:
    """An open evaluation. It can run several times, with further models: existing answers are not asked again."""

    spec: EvalSpec
    builder: Builder
    emit: EventSink | None

    async def run(
        self, models: Mapping[str, Model], on_progress: Callable[[Progress], None], task: Task | None = None
    ) -> Results:
        """Evaluate these models, by their names, on the task or a part of it."""
        return await evaluate(
            task or self.spec.task,
            models,
            judge=self.spec.judge.model if self.spec.judge else None,
            folder=self.spec.folder,
            seed=self.spec.seed,
            max_concurrency=self.spec.max_concurrency,
            max_cost=self.spec.max_cost,
            on_progress=on_progress,
            emit=self.emit,
        )

    @property
    def models(self) -> dict[str, Model]:
        """The models of the spec, by name."""
        return {model.name: model.model for model in self.spec.models}


@contextmanager
def session(
    task: Task,
    models: Sequence[str],
    judge: str | None = None,
    *,
    seed: int = 0,
    limit: int | None = None,
    output_dir: Path | None = None,
    max_concurrency: int = MAX_CONCURRENCY,
    max_cost: float | None = None,
    trace: bool = True,
    config: Path | None = None,
    download_progress: DownloadProgress = silent,
) -> Iterator[Session]:
    """Open an evaluation, or continue one. Raises `ConfigError` before anything is asked.

    `limit` is a number of samples. The default `output_dir` belongs to exactly this evaluation. With `trace`, every
    call is stored in the results folder. `download_progress` shows the download of weights that a model needs.
    """
    with needs("eval"):
        import_module("scipy")  # fail before anything is paid for, rather than when metrics are computed
    plain = get_builder(config)
    entries = [describe(plain.config, plain.folder, name) for name in models]
    names = [entry.name for entry in entries]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"-m {repeated}: is given twice")
    judging = describe(plain.config, plain.folder, judge) if judge else None
    check_needs(task, len(entries), judging is not None)
    everyone = [*entries, *([judging] if judging else [])]
    _check_prices(everyone, max_cost)
    task = TaskSubset(task, limit, seed) if limit else task
    recorded = manifest(task, entries, judging, seed)
    path = output_dir or RESULTS / f"{task.name}-{identity(recorded)}"
    with _call_cache(plain.config, path) as calls, Store(path / RUNS) as store:
        # in the order of arrival, cached answers would be read in another order than at first
        builder = Builder(
            plain.config, plain.folder, calls, max_concurrency=max_concurrency, reference_order="declared"
        )
        built = [ModelUnderTest(entry.name, builder.model(entry.name), entry) for entry in everyone]
        for one in built:
            check(one.model)
            ensure(plain.config, one.name, download_progress)
        folder = ResultsFolder.open(path, recorded, task.samples)
        tested, judges = tuple(built[: len(entries)]), built[len(entries) :]
        spec = EvalSpec(task, tested, judges[0] if judges else None, folder, seed, max_concurrency, max_cost)
        yield Session(spec, builder, store.emit if trace else None)


def _check_prices(entries: Sequence[ManifestEntry], max_cost: float | None) -> None:
    """Raise `ConfigError` if there is a limit on the cost and a price is unknown."""
    unknown = (name for entry in entries for name, price in entry.prices.items() if price is None)
    if max_cost is not None and (name := next(unknown, None)):
        raise ConfigError(
            f"--max-cost: the price of {name} is unknown, so the limit cannot be kept; "
            "set price = { input = ..., output = ... } in moa.toml"
        )


def _call_cache(config: Config, results: Path) -> SQLiteCache:
    """Return the cache of all calls: beside the stored runs, or in the results folder if no runs are stored."""
    store = keeping(config.store)
    path = answers_beside(store) if store and config.store.store_content else results / CALLS
    return SQLiteCache(path, "all", days=config.store.max_age_days, megabytes=config.store.max_size_mb)
