"""Statements made by rule out of a bank of words, and the same said again in other words, in other order, inflected.

A statement is a handful of choices: who, does what, to what, where, when, why. It can be said in several ways; which
words stand for one another is written down here. The bank has two halves with no word of content in common: what is
tuned on one is reported on the other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Half = Literal["dev", "held-out"]

# Word and what may stand for it, separated by a slash. Verbs are regular.
TOPICS = """
harbour: the pier, the lighthouse, the tide, the dry dock, the fishing fleet, the customs office, the quay, the buoy
orchard: the apple trees, the grafting knife, the frost, the cider press, the blossom, the hedgerow, the ladder
railway: the locomotive, the signal box, the platform, the sleeper car, the tunnel, the timetable, the viaduct
theatre: the stage, the curtain, the orchestra pit, the playwright, the costume, the rehearsal, the prompter
bakery: the oven, the sourdough, the flour mill, the apprentice, the rye loaf, the counter, the yeast
observatory: the telescope, the comet, the dome, the star chart, the eclipse, the astronomer, the lens, the night sky
vineyard: the slope, the barrel, the harvest crew, the cellar, the pruning shears, the grape, the cork, the trellis
hospital: the ward, the surgeon, the night nurse, the pharmacy, the operating table, the stretcher, the vaccine
glacier: the crevasse, the ice core, the moraine, the meltwater, the summit, the rope team, the avalanche
printshop: the press, the ink roller, the typesetter, the pamphlet, the woodcut, the paper stack, the binder
aquarium: the coral tank, the filter, the octopus, the feeding hour, the diver, the plankton, the seahorse
quarry: the crane, the granite block, the blasting crew, the dust, the chisel, the ramp, the foreman, the stone saw
"""
VERBS = """
repair/restore, collect/gather, inspect/examine, transport/deliver, abandon/desert, paint/colour, measure/gauge,
improve/enhance, protect/shelter, replace/renew, order/command, purchase/acquire, finish/complete, start/launch,
demolish/destroy, warn/alert, clean/polish, gather/assemble, discover/reveal, select/pick, push/shove, assist/support,
request/demand, explain/clarify, fasten/attach, enlarge/expand, shorten/trim, test/check, guard/watch, reject/decline,
own/possess, imitate/mimic, lift/hoist, scatter/disperse, record/document, praise/applaud, delay/postpone,
forecast/predict, mix/blend, soak/drench
"""
ADJECTIVES = """
large/huge, small/tiny, quick/rapid, old/ancient, quiet/silent, damaged/broken, costly/expensive, famous/renowned,
weak/feeble, strong/sturdy, narrow/slender, bright/brilliant, empty/vacant, rare/scarce, wooden/timber,
foreign/overseas, heavy/weighty, dirty/filthy, strange/odd, careful/cautious, modern/contemporary, simple/plain,
distant/remote, clever/smart
"""
ACTORS = """
workers/labourers, children/youngsters, doctors/physicians, merchants/traders, visitors/guests, teachers/instructors,
soldiers/troops, villagers/townsfolk, scientists/researchers, thieves/burglars, owners/proprietors,
travellers/wayfarers, neighbours/residents, officials/bureaucrats, pupils/students, farmers/growers, artists/painters,
lawyers/attorneys, sailors/mariners, engineers/technicians, cooks/chefs, hunters/trappers, singers/vocalists,
widows/mourners
"""
THINGS = """
ships/vessels, houses/dwellings, roads/streets, shops/stores, forests/woodlands, letters/messages, gifts/presents,
coats/jackets, stones/rocks, carpets/rugs, bottles/flasks, errors/mistakes, profits/earnings, paths/trails,
pictures/images, duties/obligations, boxes/crates, fences/barriers, machines/devices, songs/tunes, novels/books,
wages/salaries, maps/plans, seeds/grains
"""
PLACES = """
near the coast, in the upper valley, behind the town hall, along the canal, under the arches, beyond the northern
gate, beside the cemetery, on the southern bank, at the crossroads, within the old walls, across the meadow, above the
waterfall, inside the barn, opposite the chapel, by the reservoir, between the two hills, outside the capital, around
the lagoon
"""
TIMES = """
during the winter, after the flood, before sunrise, at midnight, every autumn, on market days, since the strike, until
the armistice, throughout the drought, on Sundays, within a week, at harvest time, for a decade, over the holidays,
after the merger, before the vote
"""
REASONS = """
the roof leaked, money was short, nobody else volunteered, the mayor insisted, rain was expected, the lease expired,
prices doubled, the well ran dry, an inspector complained, fashion changed, the bridge collapsed, taxes were lowered,
the priest forbade gambling, a rival opened nearby, wolves were sighted, the contract allowed it, tempers flared, fuel
was rationed
"""
MANNERS = """
slowly/gradually, secretly/covertly, eagerly/keenly, seldom/rarely, together/jointly, bravely/boldly,
cheaply/inexpensively, often/frequently, gladly/happily, barely/hardly, mainly/chiefly, suddenly/abruptly,
openly/publicly, kindly/gently, loudly/noisily, annually/yearly
"""
OPENERS = ("It is worth noting that ", "In addition, ", "As it happens, ", "Of course, ", "Notably, ", "Put simply, ")
UNITS = ("metres", "tons", "days", "crowns", "barrels", "miles", "percent", "hours")


def _bank(text: str, half: Half) -> list[tuple[str, ...]]:
    """Every second entry of a list; the first of an entry is the word, the others may stand for it."""
    entries = [tuple(entry.strip().split("/")) for entry in re.split(r",\s", text.strip()) if entry.strip()]
    return entries[half == "held-out" :: 2]


@dataclass(frozen=True)
class Bank:
    """The words of one half."""

    topics: dict[str, list[str]]
    verbs: Sequence[tuple[str, ...]]
    adjectives: Sequence[tuple[str, ...]]
    actors: Sequence[tuple[str, ...]]
    things: Sequence[tuple[str, ...]]
    places: Sequence[tuple[str, ...]]
    times: Sequence[tuple[str, ...]]
    reasons: Sequence[tuple[str, ...]]
    manners: Sequence[tuple[str, ...]]

    @staticmethod
    def of(half: Half) -> Bank:
        lines = TOPICS.strip().splitlines()[half == "held-out" :: 2]
        topics = {line.split(": ")[0]: line.split(": ")[1].split(", ") for line in lines}
        lists = (VERBS, ADJECTIVES, ACTORS, THINGS, PLACES, TIMES, REASONS, MANNERS)
        return Bank(topics, *(_bank(text, half) for text in lists))


Word = tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """Who does what to what, how, where, when, why; `number` of `unit` of the topic's own `part`."""

    actor: Word
    quality: Word
    verb: Word
    further: Word
    thing: Word
    part: str
    manner: Word
    place: Word
    time: Word
    reason: Word
    number: int
    unit: str
    pattern: int

    @property
    def facts(self) -> tuple[object, ...]:
        """What it says; the order in which it says it is left out."""
        return (self.actor, self.verb, self.thing, self.part, self.place, self.time, self.reason)


def stated(bank: Bank, topic: str, dice: random.Random) -> Statement:
    """A statement on a topic."""
    return Statement(
        dice.choice(bank.actors),
        dice.choice(bank.adjectives),
        *dice.sample(bank.verbs, 2),
        dice.choice(bank.things),
        dice.choice(bank.topics[topic]),
        dice.choice(bank.manners),
        dice.choice(bank.places),
        dice.choice(bank.times),
        dice.choice(bank.reasons),
        dice.choice((3, 4, 12, 15, 40, 75, 120, 250, 600, 1400)) + dice.randint(0, 9),
        dice.choice(UNITS),
        dice.randrange(6),
    )


def _verb(verb: str, form: Literal["past", "ing"]) -> str:
    """A regular verb, inflected."""
    doubled = re.fullmatch(r"[^aeiou]+[aeiou][bdgmnprt]", verb)
    stem = verb + verb[-1] if doubled else verb
    if verb.endswith("e"):
        return verb[:-1] + "ing" if form == "ing" else verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou" and form == "past":
        return verb[:-1] + "ied"
    return stem + ("ing" if form == "ing" else "ed")


def phrase(one: Statement, dice: random.Random, again: bool = False) -> str:
    """A statement in words; `again` says it in other words, in another order, in another tense or voice."""

    def word(choice: Word) -> str:
        return dice.choice(choice[1:]) if again and len(choice) > 1 and dice.random() < 0.5 else choice[0]

    actor, verb, thing = word(one.actor), word(one.verb), f"{word(one.quality)} {word(one.thing)}"
    further, place, time, reason, manner = word(one.further), one.place[0], one.time[0], one.reason[0], word(one.manner)
    past, past2, part = _verb(verb, "past"), _verb(further, "past"), one.part
    measure, bare = f"{one.number} {one.unit}", part.removeprefix("the ")
    if again:
        ways = (
            f"{time}, {thing} were {past} {place} by {actor}, who {past2} {part} since {reason}",
            f"because {reason}, {thing} next to {part} have been {manner} {past} by the {actor} {time}",
            f"{place} it took {measure} to {further} {part}; then the {actor} {past} {thing}",
            f"anyone {_verb(verb, 'ing')} {thing} {place} has to {manner} {further} {part} first, as {reason}",
            f"{part} of the {actor} now has {measure} {place}, {_verb(verb, 'ing')} {thing} {time}",
            f"as {reason} {time}, {part} and the {thing} are {manner} being {past} by {actor}",
        )
    else:
        ways = (
            f"{actor} {past} the {thing} {place} {time} and {past2} {part} when {reason}",
            f"{time} the {actor} {manner} {past} {thing} next to {part} because {reason}",
            f"the {actor} {past} the {thing} once {measure} had {past2} {part} {place}",
            f"you should {manner} {further} {part} before you {verb} {thing} {place}, since {reason}",
            f"{time} the {bare} of the {actor} got {measure} {place} and {past} {thing}",
            f"{actor} {manner} {past} {part} and the {thing} {time}, so {reason}",
        )
    text = ways[one.pattern]
    text = dice.choice(OPENERS) + text if again and dice.random() < 0.3 else text
    return text[0].upper() + text[1:] + "."
