"""What tuning found: a table, mixtures for moa.toml, a page with plots."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ...config.draft import written
from ...config.schema import MixtureTable
from ..report.html import Section, paragraph, table
from ..results_folder import Folder
from .findings import cells, prices, write
from .tune import Found

HEADER = ("mixture", "score", "interval", "cost", "time", "")


def row(one: Found) -> tuple[str, ...]:
    """A line of the table."""
    mark = "on the front" if one.front else "" if one.within else "beyond the limits"
    return one.candidate.name, *cells(one.measured), mark


def mixtures(found: Sequence[Found]) -> str:
    """Those on the front as tables of a moa.toml, each under a line that says what it came to."""
    made = []
    for number, one in enumerate((one for one in found if one.front), 1):
        score, interval, cost, seconds = cells(one.measured)
        told = f"# {one.candidate.name}: {score} ({interval}) on {one.measured.prompts} prompts, {cost}, {seconds} s\n"
        if one.candidate.aggregator is None:
            made.append(f"{told}# a model alone is no mixture; ask it by its name\n")
        else:
            made.append(told + written(f"tuned-{number}", MixtureTable.model_validate(one.candidate.table())))
    return "\n".join(made)


def kept(folder: Folder, found: Sequence[Found]) -> list[Path]:
    """Write it all into the results folder; where to."""
    best, toml = found[0], folder.path / "tuned.toml"
    toml.write_text(mixtures(found), "utf-8", newline="\n")
    score, interval, *_ = cells(best.measured)
    beyond = "" if best.within else "Nothing that was tried keeps to the limits. The best of it: "
    said = f"{beyond}{best.candidate.name}: {score}, interval {interval}", "plain" if best.within else "bad"
    sections = [
        Section("Mixtures", table(HEADER, [row(one) for one in found], numbers=(1, 2, 3, 4))),
        Section("For moa.toml", f"<pre>{escape(mixtures(found))}</pre>" if best.within else paragraph("Nothing.")),
    ]
    results = {one.candidate: one.measured for one in found}
    return [toml, *write(folder, "tuned", "Which mixture to take", said, sections, prices(results), results)]
