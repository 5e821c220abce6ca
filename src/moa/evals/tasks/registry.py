"""From the name of a suite to its benchmark."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ...config.messages import did_you_mean
from ...errors import ConfigError
from ..task import Task
from . import public
from .jsonl import Suite

PUBLIC = {
    "alpaca_eval": "alpaca_eval",
    "mt_bench": "mt_bench",
    "mt_bench_pairwise": "mt_bench",
    "flask": "flask",
    "flask_hard": "flask",
}
"""Benchmarks whose authors publish their data, and whose data that is: a module here, with `read(data, name)`."""


def benchmark(name: str, data: Path | None = None) -> Task:
    """The benchmark of a name, with its data from the folder `data`, else from where `moa eval fetch` puts it; or the
    suite in a .jsonl file. Raises `ConfigError`."""
    if name in PUBLIC:
        of = PUBLIC[name]
        where = data or public.folder(of)
        if not where.is_dir():
            raise ConfigError(
                f"{where}: no data of {name}; moa eval fetch {of} gets it, or name its folder with --data"
            )
        read: Task = import_module(f"{__package__}.{of}").read(where, name)
        return read
    path = Path(name)
    if path.suffix == ".jsonl" or path.is_file():
        return Suite.read(path)
    raise ConfigError(f"no suite {name!r}{did_you_mean(name, PUBLIC)}; or name a .jsonl file of yours")
