"""Tasks by name, whole or in part."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ...config.messages import did_you_mean
from ...errors import ConfigError
from ..task import Metric, Sample, ScoredSample, Scorer, Task
from .data import download_folder
from .jsonl import JsonlTask

PUBLIC = {
    "alpaca_eval": "alpaca_eval",
    "mt_bench": "mt_bench",
    "mt_bench_pairwise": "mt_bench",
    "flask": "flask",
    "flask_hard": "flask",
}
"""The public tasks, with the name of their data, which is also a module here with `read(data, name)`."""


def load_task(name: str, data: Path | None = None) -> Task:
    """Return the public task of a name, or the task in a .jsonl file. Raises `ConfigError`.

    The data of a public task is read from `data`, by default from where `moa eval fetch` stores it.
    """
    if name in PUBLIC:
        module = PUBLIC[name]
        folder = data or download_folder(module)
        if not folder.is_dir():
            raise ConfigError(
                f"{name}: no data in {folder}; download it with moa eval fetch {module}, or set --data to its folder"
            )
        task: Task = import_module(f"{__package__}.{module}").read(folder, name)
        return task
    path = Path(name)
    if path.suffix == ".jsonl" or path.is_file():
        return JsonlTask.read(path)
    raise ConfigError(f"no task {name!r}{did_you_mean(name, PUBLIC)}; known: {', '.join(PUBLIC)}, or a .jsonl file")


@dataclass(frozen=True)
class TaskSubset:
    """A few samples of a task, drawn by a seed. A smaller subset of the same seed is part of a larger one."""

    whole: Task
    limit: int
    seed: int = 0
    samples: Sequence[Sample] = field(init=False)

    def __post_init__(self) -> None:
        order = list(range(len(self.whole.samples)))
        random.Random(self.seed).shuffle(order)  # noqa: S311
        object.__setattr__(self, "samples", [self.whole.samples[index] for index in sorted(order[: self.limit])])

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def options(self) -> Mapping[str, Any]:
        return self.whole.options

    @property
    def scorer(self) -> Scorer:
        return self.whole.scorer

    @property
    def version(self) -> str:
        return self.whole.version

    def metrics(self, scored: Sequence[ScoredSample]) -> Sequence[Metric]:
        """Return the metrics of the whole task."""
        return self.whole.metrics(scored)
