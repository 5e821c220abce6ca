"""A row of a list of runs."""

from __future__ import annotations

from ...store.reader import StoredRun
from ...store.rows import when
from .escape import printable
from .footer import cost

QUESTION = 40
"""Characters of a question in a row on a terminal."""


def row(run: StoredRun, cut: bool) -> tuple[str, ...]:
    """Return the cells of a row after the id. `cut` shortens the question."""
    usage, question = run.usage, printable(run.question or "")
    return (
        when(run.started),
        printable(run.model),
        run.state,
        "" if run.calls is None else f"{run.calls}{f' ({run.lost} failed)' * bool(run.lost)}",
        f"{'~' * usage.estimated}{usage.input_tokens + usage.output_tokens:,}" if usage else "",
        cost(usage.cost) if usage else "",
        "" if run.seconds is None else f"{run.seconds:.1f} s",
        f"{question[: QUESTION - 1]}…" if cut and len(question) > QUESTION else question,
    )
