"""Traces which share of the answers came from which proposer, some runs at a time because it is slow."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import StoreError
from ..provenance.attribution import provenance_of_run
from . import aggregates
from .migrations import transaction
from .reader import Reader, StoredRun


def trace_shares(reader: Reader, limit: int, owner: str | None, tell: Callable[[str], object]) -> int:
    """Trace the latest untraced answers, at most `limit`, and return their number.

    `tell` is called once for each run that cannot be read.
    """
    mine = "" if owner is None else " AND owner = ?"
    sql = f"SELECT number, id FROM runs WHERE {aggregates.UNTRACED}{mine} ORDER BY id DESC LIMIT ?"  # noqa: S608
    chosen = reader.db.execute(sql, (*([] if owner is None else [owner]), limit)).fetchall()
    for number, run in chosen:
        try:
            shares = _shares(reader, reader.find(run))
        except StoreError as error:
            tell(f"{error}; it is left out of the shares")
            shares = {}
        with transaction(reader.db):
            aggregates.share(reader.db, number, shares)
    return len(chosen)


def _shares(reader: Reader, run: StoredRun) -> dict[str, float]:
    traced = provenance_of_run(reader.trace(run))
    return {one.span: share for one, share in zip(traced.proposals, traced.shares, strict=True) if one.span}
