"""Which model did best on the same samples, and whether that is more than luck, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from ..sample import Scored
from ..stats.intervals import spread
from .measured import Measured, between, value

Verdict = tuple[str, str]
"""A sentence, and its tone on the page: "good", "bad", "open" or "plain"."""


def leading(models: Sequence[Measured]) -> Verdict:
    """The verdict on an evaluation of several models."""
    known = [one for one in models if one.headline.value is not None]
    best, *others = sorted(known, key=lambda one: -(one.headline.value or 0.0))
    told = f"{best.name}: {value(best.headline)} {best.headline.name}{between(best.headline)}"
    if not others:
        return f"{told}.", "plain"
    if any(one.headline.note == "the baseline" for one in models):
        return _against_baseline(best, others, told)
    second = others[0]
    then = f"{second.name} with {value(second.headline)}"
    low, high = _difference(best.scored, second.scored)
    if low is None or high is None:
        return f"{told}; next is {then}.", "open"
    scale, points = (100, " points") if best.headline.unit == "%" else (1, "")
    gap = f"difference {scale * low:+.3g} .. {scale * high:+.3g}{points}"
    if low > 0:
        return f"{told}; ahead of {then} ({gap}).", "good"
    return f"No model is shown to be best. {told}; next is {then} ({gap}).", "open"


def _against_baseline(best: Measured, others: Sequence[Measured], told: str) -> Verdict:
    if best.headline.note == "the baseline":
        second = others[0]
        sure = second.headline.high is not None and second.headline.high < 50
        words = "No model is preferred over" if sure else "No model is shown to be preferred over"
        return f"{words} {best.name}; next is {second.name}, preferred in {value(second.headline)}.", "bad"
    baseline = next(one for one in others if one.headline.note == "the baseline")
    sure = best.headline.low is not None and best.headline.low > 50
    return f"{told} over {baseline.name}{'' if sure else '; that may be luck'}.", "good" if sure else "open"


def _difference(one: Sequence[Scored], other: Sequence[Scored]) -> tuple[float | None, float | None]:
    """Where the mean difference of the first score is likely to be, over the samples both have."""
    theirs = {scored.sample.id: scored.first for scored in other}
    gaps, clusters = [], []
    for scored in one:
        own, their = scored.first, theirs.get(scored.sample.id)
        if own is not None and their is not None:
            gaps.append(own - their)
            clusters.append(scored.sample.cluster)
    return spread(gaps, clusters)
