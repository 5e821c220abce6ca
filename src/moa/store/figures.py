"""What models gave, took and cost in the runs that are kept: of each mixture, of each of its models, day by day."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from .counting import COLUMNS, ROLES, Counts, seconds

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """How long calls took, in seconds, to a twentieth: half of them no longer than `p50`."""

    calls: int
    p10: float
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of one model in one role of one mixture; in the role "root", of whole runs.

    `day` is a date where figures are asked for day by day. Of the `seconds`, those to the `first_word` are known only
    where somebody watched. `None` is what nobody knows.
    """

    mixture: str
    role: str
    model: str
    day: str | None
    counts: Counts
    seconds: Spread | None
    first_word: Spread | None

    @property
    def cost(self) -> float | None:
        """In US dollars; unknown where that of a single call is."""
        return None if self.counts.unpriced else self.counts.cost

    @property
    def share(self) -> float | None:
        """The part of the answers that came from it, from 0 to 1, over the runs that were traced."""
        return self.counts.share / self.counts.shared if self.counts.shared else None

    def as_json(self) -> dict[str, Any]:
        """As JSON: counts of calls, sums of tokens and dollars, percentiles in seconds."""
        counts = self.counts
        return {
            "mixture": self.mixture,
            "role": self.role,
            "model": self.model,
            **({"day": self.day} if self.day else {}),
            **{name: getattr(counts, name) for name in ("calls", "lost", "cached", "retries")},
            "input_tokens": counts.input_tokens,
            "output_tokens": counts.output_tokens,
            "cost": self.cost,
            "seconds": _told(self.seconds),
            "first_word": _told(self.first_word),
            "share": self.share,
            "traced": counts.shared,
        }


def figures(
    db: sqlite3.Connection, since: str | None, mixture: str | None, owner: str | None, by_day: bool
) -> list[Figures]:
    """The figures of all calls since a day, of one mixture and one owner or of all: by mixture, the whole run first."""
    keys = ("mixture", "role", "model", *(["day"] * by_day))
    conditions = {"day >= ?": since, "mixture = ?": mixture, "owner = ?": owner}
    asked = {condition: value for condition, value in conditions.items() if value is not None}
    where, values, key = " AND ".join(("calls > 0", *asked)), tuple(asked.values()), ", ".join(keys)
    sums = ", ".join(f"sum({name})" for name in COLUMNS)
    order = "day, " * by_day + f"mixture, instr('{' '.join(ROLES)}', role), sum(calls) DESC, model"
    totals = db.execute(f"SELECT {key}, {sums} FROM series WHERE {where} GROUP BY {key} ORDER BY {order}", values)  # noqa: S608
    found = totals.fetchall()
    spreads: dict[tuple[Key, str], list[tuple[int, int]]] = {}
    chosen = f"SELECT number, {key} FROM series WHERE {where}"  # noqa: S608
    slots = (
        f"SELECT {key}, measure, slot, sum(spreads.calls) FROM ({chosen}) JOIN spreads ON series = number "  # noqa: S608
        f"GROUP BY {key}, measure, slot ORDER BY slot"
    )
    for *of, measure, slot, calls in db.execute(slots, values):
        spreads.setdefault((tuple(of), measure), []).append((slot, calls))
    told = []
    for row in found:
        of, counts = row[: len(keys)], Counts(*row[len(keys) :])
        took, heard = (_spread(spreads.get((of, measure))) for measure in ("seconds", "first_word"))
        told.append(Figures(of[0], of[1], of[2], of[3] if by_day else None, counts, took, heard))
    return told


def _spread(slots: Sequence[tuple[int, int]] | None) -> Spread | None:
    if not slots:
        return None
    sums = [*accumulate(calls for _, calls in slots)]

    def percentile(percent: float) -> float:
        return seconds(slots[bisect_left(sums, percent * sums[-1] / 100)][0])

    return Spread(sums[-1], *(percentile(percent) for percent in (10, 50, 90, 95, 99)))


def _told(spread: Spread | None) -> Mapping[str, float] | None:
    if spread is None:
        return None
    return {name: round(getattr(spread, name), 3) for name in ("p50", "p90", "p95", "p99")}
