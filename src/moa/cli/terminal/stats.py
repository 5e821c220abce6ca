"""A row of `moa runs stats`."""

from __future__ import annotations

from ...store.stats import Figures, Spread
from .escape import printable
from .footer import cost

HEADER = ("mixture", "role", "model", "calls", "failed", "time", "p95", "first word", "tokens", "cost", "share")


def row(figures: Figures) -> tuple[str, ...]:
    """Return the cells of a row; unknown ones are empty."""
    counts, took = figures.counts, figures.seconds
    root = figures.role == "root"
    return (
        printable(figures.mixture),
        "" if root else figures.role,
        "" if root else printable(figures.model),
        f"{counts.calls:,}" + (f" ({counts.cached:,} cached)" if counts.cached else ""),
        f"{counts.lost:,}" if counts.lost else "",
        _seconds(took, "p50"),
        _seconds(took, "p95"),
        _seconds(figures.first_word, "p50"),
        f"{counts.output_tokens:,}" if counts.output_tokens else "",
        cost(figures.cost),
        "" if figures.share is None else f"{figures.share:.0%}",
    )


def _seconds(spread: Spread | None, name: str) -> str:
    if spread is None:
        return ""
    seconds: float = getattr(spread, name)
    return f"{seconds:.{1 if seconds >= 1 else 2}f} s"
