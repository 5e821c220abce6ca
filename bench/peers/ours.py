"""The moa.toml of the task, for the library and for `moa serve`."""

from pathlib import Path

from adapter import Task

TOML = """
[providers.mock]
base_url = "{url}"
price = {{ input = 0, output = 0 }}
[mixtures.panel]
proposers = [{proposers}]
aggregator = "mock:{aggregator}"
"""


def config(folder: Path, task: Task) -> Path:
    """Write the moa.toml and return its path."""
    proposers = ", ".join(f'"mock:{name}"' for name in task.proposers)
    path = folder / "moa.toml"
    path.write_text(TOML.format(url=task.url, proposers=proposers, aggregator=task.aggregator))
    return path
