"""Which part of the answers came from whom: traced afterwards, for some runs at a time, as it takes a while."""

from __future__ import annotations

from ..provenance import of_run
from ..recall import folded
from . import counting
from .reading import Reader
from .schema import transaction


def trace_shares(reader: Reader, limit: int, owner: str | None) -> int:
    """Trace the latest answers that are not traced yet, at most `limit`; how many they were."""
    mine = "" if owner is None else " AND owner = ?"
    asked = f"SELECT number, id FROM runs WHERE {counting.UNTRACED}{mine} ORDER BY id DESC LIMIT ?"  # noqa: S608
    chosen = reader.db.execute(asked, (*([] if owner is None else [owner]), limit)).fetchall()
    for number, run in chosen:
        traced = of_run(folded(reader.events(reader.find(run))))
        shares = {one.span: share for one, share in zip(traced.proposals, traced.shares, strict=True) if one.span}
        with transaction(reader.db):
            counting.share(reader.db, number, shares)
    return len(chosen)
