"""What making a run again will do: which calls it makes, and about what they cost."""

from __future__ import annotations

from collections.abc import Iterator

from ...runs.rerun import split
from ...store.reader import StoredRun
from ...trace.tree import Trace
from ...types import Usage
from .escape import printable
from .footer import cost, tokens


def planned(run: StoredRun, plan: Trace) -> Iterator[str]:
    """A line for the whole, and one for each call that is really made."""
    kept, made = split(plan)
    again = (
        f"{len(kept)} proposal{'s' * (len(kept) != 1)} as they were, {len(made)} call{'s' * (len(made) != 1)} to make"
    )
    total = Usage.total(call.usage or Usage() for call in made)
    yield printable(f"{run.model} again, from run {run.id}: {again}, about {cost(total.cost)}")
    for call in made:
        start, usage = call.start, call.usage or Usage()
        place = f"layer {start.layer}" if start.layer else start.role
        yield printable(f"  {place}: {start.model}, about {tokens(usage)}, {cost(usage.cost)}")
