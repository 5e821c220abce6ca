"""Measures the coverage of `moa eval worth`: its interval and its verdict against simulated worlds with a known truth.

Each world has four members and an aggregator; each answer is judged against every member's and against the best
member's sampled four times (Self-MoA), in both orders. `--truth` is the number of prompts for the truth.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from common import arguments, report
from moa.evals.stats.comparison import Rival, Worth, worth
from simulator import SimulatedAnswer, Skill, World

MEMBERS = ("a", "b", "c", "d")
EVEN = Skill(strengths=0.6, luck=0.4)
ZERO = 0.5
"""Gains of fewer points cannot be told from zero with the sample for the truth."""
TAKES_ANY = replace(EVEN, misses=1.0)


@dataclass(frozen=True)
class Case:
    """A world, and the use of a mixture in it."""

    name: str
    skills: tuple[Skill, Skill, Skill, Skill]
    aggregator: Skill
    prompts: int = 100
    longer: float = 0.0
    group: int = 1

    def world(self, seed: int = 0) -> World:
        skills = dict(zip(MEMBERS, self.skills, strict=True)) | {"aggregator": self.aggregator}
        return World(skills, seed, first=0.3, longer=self.longer)


CASES = (
    Case("clear", (EVEN,) * 4, EVEN),
    Case("near ties", tuple(replace(EVEN, proposing=0.1 - 0.05 * n) for n in range(4)), replace(EVEN, misses=0.4)),  # type: ignore[arg-type]
    Case("weak", (replace(EVEN, proposing=0.8), *(replace(EVEN, proposing=-0.3),) * 3), replace(EVEN, misses=0.4)),
    Case("nothing", (EVEN,) * 4, TAKES_ANY),
    Case("long", (EVEN,) * 4, replace(TAKES_ANY, length=1800.0), longer=0.8),
    Case("few", (EVEN,) * 4, TAKES_ANY, prompts=20),
    Case("clusters", (EVEN,) * 4, TAKES_ANY, group=5),
)


def expected(world: World, one: SimulatedAnswer, other: SimulatedAnswer) -> float:
    """Return the gain without the judge's preference for length."""
    level = replace(world, longer=0.0)
    return level.preference(one, other) - level.preference(other, one)


def row(
    case: Case, world: World, name: str, count: int
) -> Iterator[tuple[str, SimulatedAnswer, list[SimulatedAnswer], list[SimulatedAnswer]]]:
    """Yield prompts with the mixture's answer, the members' answers, and the mixture of four samples of each member."""
    for number in range(count):
        prompt = f"{name} {number // case.group}/{number}"
        mixture = world.mixed(MEMBERS, "aggregator", prompt)
        alone = [world.propose(member, prompt) for member in MEMBERS]
        yield prompt, mixture, alone, [world.mixed([member] * 4, "aggregator", prompt) for member in MEMBERS]


def truth(case: Case, count: int) -> tuple[float, float]:
    """Return the mixture's mean gain in points over the best member, and over the best member when sampled."""
    world, single, often = case.world(), Counter[str](), Counter[str]()
    for _, mixture, alone, sampled in row(case, world, "truth", count):
        for member, one, self_mixed in zip(MEMBERS, alone, sampled, strict=True):
            single[member] += expected(world, mixture, one) * 100 / count
            often[member] += expected(world, mixture, self_mixed) * 100 / count
    best = min(MEMBERS, key=single.__getitem__)
    return single[best], often[best]


def simulated(case: Case, number: int) -> Worth:
    """Return the result of `worth` on one set of prompts."""
    world = case.world()
    prompts = list(row(case, world, f"simulation {number}", case.prompts))

    def rival(name: str, others: Sequence[SimulatedAnswer]) -> Rival:
        pairs = [(prompt, mixture, other) for (prompt, mixture, _, _), other in zip(prompts, others, strict=True)]
        gains = [world.gain(prompt, mixture, other) for prompt, mixture, other in pairs]
        return Rival(name, gains, longer=[mixture.length - other.length for _, mixture, other in pairs])

    members = [rival(name, [alone[place] for _, _, alone, _ in prompts]) for place, name in enumerate(MEMBERS)]
    picked = MEMBERS.index(min(members, key=lambda member: sum(member.gains)).name)
    often = rival(f"{MEMBERS[picked]} sampled 4 times", [sampled[picked] for *_, sampled in prompts])
    clusters = [prompt.partition("/")[0] for prompt, *_ in prompts]
    return worth(members, [often], clusters=clusters, seed=number)


def main() -> None:
    options = arguments(__doc__, runs=500, truth=50_000, only="")
    rows: list[dict[str, Any]] = []
    for case in CASES:
        if options.only not in ("", case.name):
            continue
        true, true_often = truth(case, options.truth)
        items = [simulated(case, number) for number in range(options.runs)]
        single, often = ([one.comparisons[place].decisive for one in items] for place in (0, 1))

        def percent(held: Iterable[bool]) -> float:
            return round(100 * sum(held) / options.runs, 1)

        rows.append(
            {
                "world": case.name,
                "prompts": case.prompts,
                "truth": round(true, 2),
                "over Self-MoA": round(true_often, 2),
                "is it worth it": "yes" if min(true, true_often) > ZERO else "no",
                "estimate": round(fmean(figure.value for figure in single), 2),
                "covered %": percent(one.low <= true <= one.high for one in single),
                "covered, Self-MoA %": percent(one.low <= true_often <= one.high for one in often),
                "worth it %": percent(one.verdict == "worth it" for one in items),
                "not worth it %": percent(one.verdict == "not worth it" for one in items),
            }
        )
        if sys.stderr.isatty():
            print(case.name, file=sys.stderr)
    report("verdicts of worth against the truth", rows, options)


if __name__ == "__main__":
    main()
