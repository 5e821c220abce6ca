"""Statistics of stored runs: calls, tokens, times and cost of each mixture and each of its models, also by day."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

from .aggregates import COLUMNS, ROLES, Counts, seconds

if TYPE_CHECKING:
    from ..json_types import FiguresJSON, Role, SpreadJSON

Key = tuple[str | None, str, str, str]


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of the times of calls, in seconds, to a twentieth."""

    calls: int
    p10: float
    p50: float
    p90: float
    p95: float
    p99: float

    def as_json(self) -> SpreadJSON:
        return {
            "p50": round(self.p50, 3),
            "p90": round(self.p90, 3),
            "p95": round(self.p95, 3),
            "p99": round(self.p99, 3),
        }


@dataclass(frozen=True, slots=True)
class Figures:
    """The statistics of one model in one role of one mixture; in the role "root", of whole runs.

    `day` is a date if they are by day. `first_word` counts only calls that were streamed. `None` is unknown.
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
        """US dollars; `None` if the cost of any call is unknown."""
        return None if self.counts.unpriced else self.counts.cost

    @property
    def share(self) -> float | None:
        """The share of the answers that came from it, from 0 to 1, over the traced runs."""
        return self.counts.share / self.counts.shared if self.counts.shared else None

    def as_json(self) -> FiguresJSON:
        """Return counts of calls, sums of tokens and dollars, and percentiles in seconds."""
        counts = self.counts
        figures: FiguresJSON = {
            "mixture": self.mixture,
            "role": cast("Role", self.role),
            "model": self.model,
            "calls": counts.calls,
            "lost": counts.lost,
            "cached": counts.cached,
            "retries": counts.retries,
            "input_tokens": counts.input_tokens,
            "output_tokens": counts.output_tokens,
            "cost": self.cost,
            "seconds": self.seconds.as_json() if self.seconds else None,
            "first_word": self.first_word.as_json() if self.first_word else None,
            "share": self.share,
            "traced": counts.shared,
        }
        if self.day:
            figures["day"] = self.day
        return figures


def figures(
    db: sqlite3.Connection, since: str | None, mixture: str | None, owner: str | None, by_day: bool
) -> list[Figures]:
    """Return the statistics of all calls since a day, of one mixture and owner or of all: by mixture, the whole runs
    first.
    """
    conditions = {"day >= ?": since, "mixture = ?": mixture, "owner = ?": owner}
    given = {condition: value for condition, value in conditions.items() if value is not None}
    where, values = " AND ".join(("calls > 0", *given)), tuple(given.values())
    columns = ", ".join(("number", "day", "mixture", "role", "model", *COLUMNS))
    keys: dict[int, Key] = {}
    sums: dict[Key, list[Any]] = {}
    for number, day, *of in db.execute(f"SELECT {columns} FROM series WHERE {where}", values):  # noqa: S608
        key = keys[number] = (day if by_day else None, *of[:3])
        known = sums.get(key)
        sums[key] = [one + more for one, more in zip(known, of[3:], strict=True)] if known else of[3:]
    spreads: dict[tuple[Key, str], Counter[int]] = {}
    mine = f"SELECT number FROM series WHERE {where}"  # noqa: S608
    times = f"SELECT series, measure, slot, calls FROM spreads WHERE series IN ({mine})"  # noqa: S608
    for number, measure, slot, calls in db.execute(times, values):
        spreads.setdefault((keys[number], measure), Counter())[slot] += calls
    return [
        Figures(
            *(mixture, role, model, day),
            Counts(*sums[day, mixture, role, model]),
            *(_spread(spreads.get(((day, mixture, role, model), measure))) for measure in ("seconds", "first_word")),
        )
        for day, mixture, role, model in sorted(sums, key=lambda key: _order(key, Counts(*sums[key])))
    ]


def _order(key: Key, counts: Counts) -> tuple[Any, ...]:
    day, mixture, role, model = key
    return day or "", mixture, ROLES.index(role), -counts.calls, model


def _spread(slots: Counter[int] | None) -> Spread | None:
    if not slots:
        return None
    places = sorted(slots)
    sums = [*accumulate(slots[place] for place in places)]

    def percentile(percent: float) -> float:
        return seconds(places[bisect_left(sums, percent * sums[-1] / 100)])

    return Spread(sums[-1], *(percentile(percent) for percent in (10, 50, 90, 95, 99)))
