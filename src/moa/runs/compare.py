"""Two runs compared: their answers word by word, and how often each model was called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..text.diff import Change, words
from ..trace.tree import Trace


class CallCount(NamedTuple):
    """How often a model was called in a role, in each of the runs."""

    role: str
    model: str
    counts: tuple[int, ...]


def compare_answers(one: Trace, other: Trace) -> Iterator[tuple[Change, str]]:
    """Yield the words of both answers, each with whether it is in both, only in the first, or only in the second."""
    first, second = (trace.root.text if trace.root else "" for trace in (one, other))
    return words(first, second)


def compare_calls(traces: Sequence[Trace]) -> list[CallCount]:
    """Return the calls of these runs, in the order in which they first occur."""
    counters = [Counter((call.start.role, call.start.model) for call in trace.calls) for trace in traces]
    keys = dict.fromkeys(key for counter in counters for key in counter)
    return [CallCount(*key, tuple(counter[key] for counter in counters)) for key in keys]
