"""The gains of a mixture over its rivals on the same prompts, with intervals, and a verdict in a sentence.

A gain is what a mixture wins over a rival on one prompt, from -1 to 1: the difference of two scores from 0 to 1, or
2p - 1 for a share p of a pairwise judge's preference, both orders averaged. Results are in points: the net number of
additional prompts won out of a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import ConfigError
from .bootstrap import Bootstrap, Estimate

WORTHWHILE = 5.0
"""The default gain in points below which more calls are not worth it."""

Verdict = Literal["worth it", "not worth it", "not shown"]


@dataclass(frozen=True, slots=True)
class Rival:
    """What a mixture is compared with, prompt by prompt, in one order for all rivals.

    `gains` are the mixture's over it, from -1 to 1. `cost` (US dollars) and `seconds` are means per prompt, `None` if
    unknown. `longer` is by how many characters the mixture's answer is longer, prompt by prompt; empty where length
    cannot mislead a judge.
    """

    name: str
    gains: Sequence[float]
    cost: float | None = None
    seconds: float | None = None
    longer: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A mixture against one rival: the `gain` and, at equal length, the `controlled` gain, both in points.

    `cost_ratio` and `seconds_ratio` are the mixture's cost and time over the rival's. `cost_per_win` is the US dollars
    for one more prompt won. Each is `None` if unknown, or if nothing is won.
    """

    rival: str
    prompts: int
    wins: int
    ties: int
    losses: int
    gain: Estimate
    controlled: Estimate | None = None
    cost_ratio: float | None = None
    seconds_ratio: float | None = None
    cost_per_win: float | None = None

    @property
    def decisive(self) -> Estimate:
        """The gain that decides the verdict: at equal length, where length can mislead a judge."""
        return self.controlled or self.gain


@dataclass(frozen=True, slots=True)
class Worth:
    """A verdict with its sentence and the comparisons it rests on; the first is with the best member."""

    verdict: Verdict
    sentence: str
    comparisons: tuple[Comparison, ...]
    confidence: float


def worth(
    members: Sequence[Rival],
    others: Sequence[Rival] = (),
    *,
    cost: float | None = None,
    seconds: float | None = None,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    worthwhile: float = WORTHWHILE,
    seed: int = 0,
) -> Worth:
    """Decide whether a mixture is worth its `cost` and `seconds` (means per prompt), against its best member and the
    `others`.

    `clusters` names the group of each prompt; by default each is its own. A mixture is worth it if it is better than
    every rival beyond the interval, and not worth it if it gains nothing, or certainly less than `worthwhile` points.
    Raises `ConfigError`.
    """
    if not members:
        raise ConfigError("the mixture has no member to compare it with")
    bootstrap = Bootstrap(clusters or range(len(members[0].gains)), confidence, seed)
    groups = [members, *([other] for other in others)]
    comparisons = tuple(compare(group, bootstrap, cost=cost, seconds=seconds) for group in groups)
    verdict, sentence = _verdict(comparisons, worthwhile)
    return Worth(verdict, sentence, comparisons, confidence)


def compare(
    rivals: Sequence[Rival], bootstrap: Bootstrap, *, cost: float | None = None, seconds: float | None = None
) -> Comparison:
    """Compare a mixture, at its `cost` and `seconds` a prompt, with the best of some rivals. Raises `ConfigError`.

    Which rival is best is not known, only which did best here, perhaps by luck. `Bootstrap.least` allows for that.
    """
    for rival in rivals:
        _check(rival, bootstrap.count)
    lead = min(rivals, key=lambda rival: sum(rival.gains))
    gain = bootstrap.least([bootstrap.mean(rival.gains) for rival in rivals])
    controlled = None
    if all(rival.longer for rival in rivals):
        controlled = bootstrap.least([bootstrap.length_controlled(rival.gains, rival.longer) for rival in rivals])
    wins, losses = (sum(sign * gain > 0 for gain in lead.gains) for sign in (1, -1))
    additional = None if cost is None or lead.cost is None else cost - lead.cost
    return Comparison(
        lead.name,
        len(lead.gains),
        wins,
        len(lead.gains) - wins - losses,
        losses,
        _in_points(gain),
        controlled and _in_points(controlled),
        cost / lead.cost if cost is not None and lead.cost else None,
        seconds / lead.seconds if seconds is not None and lead.seconds else None,
        additional / gain.value if additional is not None and gain.value > 0 else None,
    )


def _verdict(comparisons: Sequence[Comparison], worthwhile: float) -> tuple[Verdict, str]:
    deciding = min(comparisons, key=lambda comparison: comparison.decisive.low)
    least = deciding.decisive
    result = f"{least} over {deciding.rival}{_ratios(deciding)}"
    if least.low > 0:
        return "worth it", f"worth it for these prompts: {result}"
    if least.value <= 0 or least.high < worthwhile:
        return "not worth it", f"not worth it for these prompts: {result}"
    needed = math.ceil(deciding.prompts * ((least.value - least.low) / least.value) ** 2)
    return "not shown", f"not shown to be worth it: {result}; about {needed:,} such prompts could decide"


def _ratios(comparison: Comparison) -> str:
    cost = f", {comparison.cost_ratio:.1f}x the cost" if comparison.cost_ratio is not None else ""
    return cost + (f", {comparison.seconds_ratio:.1f}x the time" if comparison.seconds_ratio is not None else "")


def _in_points(estimate: Estimate) -> Estimate:
    return Estimate(100 * estimate.value, 100 * estimate.low, 100 * estimate.high)


def _check(rival: Rival, count: int) -> None:
    if len(rival.gains) != count:
        raise ConfigError(f"{rival.name}: has {len(rival.gains)} gains for {count} prompts")
    if wrong := [gain for gain in rival.gains if not -1 <= gain <= 1]:
        raise ConfigError(f"{rival.name}: a gain must be from -1 to 1, got {wrong[0]}")
    if rival.longer and len(rival.longer) != count:
        raise ConfigError(f"{rival.name}: has {len(rival.longer)} lengths for {count} prompts")
