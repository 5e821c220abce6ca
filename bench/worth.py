"""Does `moa eval worth` say what is true? Its interval and its verdict against worlds in which the truth is known.

In each world (simulator.py) a mixture of four members and an aggregator answers prompts, others in each
simulation; every answer of the mixture is judged against every member's and against the best member's sampled
four times (Self-MoA), in both orders. `truth` is the mixture's mean gain, in points, over the member that is best in
truth, over as many prompts as --truth says. `covered` is the share of simulations whose interval holds it, `worth it`
how often that was the verdict; a world where the truth is not above 0, or where Self-MoA does better, is marked `no`.

clear       members of like skill, a good aggregator
near ties   members that differ by little, so that which one is best is seldom sure
weak        one good member among bad ones, an aggregator that often misses: the mixture is worse
nothing     equal members, and an aggregator that takes any proposal: the mixture is exactly as good as each
long        the same, but the mixture is wordy and the judge likes that: with length held equal nothing is gained
few         as nothing, with 20 prompts
clusters    as nothing, with prompts in groups of five that share their strengths
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
"""How many points of gain the sample that the truth is drawn from cannot tell from nothing."""
TAKES_ANY = replace(EVEN, misses=1.0)


@dataclass(frozen=True)
class Case:
    """A world, and how a mixture in it is asked."""

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
    """The gain where length is of no account."""
    level = replace(world, longer=0.0)
    return level.preference(one, other) - level.preference(other, one)


def row(
    case: Case, world: World, name: str, count: int
) -> Iterator[tuple[str, SimulatedAnswer, list[SimulatedAnswer], list[SimulatedAnswer]]]:
    """Prompts: for each the mixture's answer, the members', and what each member makes of four of its own."""
    for number in range(count):
        prompt = f"{name} {number // case.group}/{number}"
        mixture = world.mixed(MEMBERS, "aggregator", prompt)
        alone = [world.propose(member, prompt) for member in MEMBERS]
        yield prompt, mixture, alone, [world.mixed([member] * 4, "aggregator", prompt) for member in MEMBERS]


def truth(case: Case, count: int) -> tuple[float, float]:
    """The mixture's mean gain in points over the member that is best, and over the one that is best when sampled."""
    world, single, often = case.world(), Counter[str](), Counter[str]()
    for _, mixture, alone, sampled in row(case, world, "truth", count):
        for member, one, self_mixed in zip(MEMBERS, alone, sampled, strict=True):
            single[member] += expected(world, mixture, one) * 100 / count
            often[member] += expected(world, mixture, self_mixed) * 100 / count
    best = min(MEMBERS, key=single.__getitem__)
    return single[best], often[best]


def simulated(case: Case, number: int) -> Worth:
    """What `worth` says of one set of prompts."""
    world = case.world()
    made = list(row(case, world, f"simulation {number}", case.prompts))

    def rival(name: str, others: Sequence[SimulatedAnswer]) -> Rival:
        pairs = [(prompt, mixture, other) for (prompt, mixture, _, _), other in zip(made, others, strict=True)]
        gains = [world.gain(prompt, mixture, other) for prompt, mixture, other in pairs]
        return Rival(name, gains, longer=[mixture.length - other.length for _, mixture, other in pairs])

    members = [rival(name, [alone[place] for _, _, alone, _ in made]) for place, name in enumerate(MEMBERS)]
    picked = MEMBERS.index(min(members, key=lambda member: sum(member.gains)).name)
    often = rival(f"{MEMBERS[picked]} sampled 4 times", [sampled[picked] for *_, sampled in made])
    clusters = [prompt.partition("/")[0] for prompt, *_ in made]
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
    report("What worth says, against the truth", rows, options)


if __name__ == "__main__":
    main()
