"""The plan of a rerun: the calls it makes and their estimated cost."""

from __future__ import annotations

from collections.abc import Iterator

from ...runs.rerun import split
from ...store.reader import StoredRun
from ...trace.tree import Trace
from ...types import Usage
from .escape import printable
from .footer import cost, tokens


def planned(run: StoredRun, plan: Trace) -> Iterator[str]:
    """Yield a line for the whole run, and one for each call to make."""
    kept, made = split(plan)
    again = f"{len(kept)} proposal{'s' * (len(kept) != 1)} reused, {len(made)} call{'s' * (len(made) != 1)} to make"
    total = Usage.total(call.usage or Usage() for call in made)
    yield printable(f"rerun of {run.id} with {run.model}: {again}, about {cost(total.cost)}")
    for call in made:
        start, usage = call.start, call.usage or Usage()
        place = f"layer {start.layer}" if start.layer else start.role
        yield printable(f"  {place}: {start.model}, about {tokens(usage)}, {cost(usage.cost)}")
