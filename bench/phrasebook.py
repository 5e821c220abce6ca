"""Generates statements and their paraphrases from a bank of words and synonyms, phrasebook.jsonl.

The bank has two halves that share no content word: thresholds are tuned on one and reported on the other.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Half = Literal["dev", "held-out"]
Word = tuple[str, ...]
"""A word or phrase, followed by its synonyms."""

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_suffix(".jsonl").read_text("utf-8").splitlines()
]


def _words(kind: str) -> list[Word]:
    return [tuple(row["words"]) for row in ROWS if row["kind"] == kind]


(OPENERS,) = _words("opener")
(UNITS,) = _words("unit")


@dataclass(frozen=True)
class Bank:
    """The words of one half. Verbs are regular."""

    topics: dict[str, list[str]]
    verbs: Sequence[Word]
    adjectives: Sequence[Word]
    actors: Sequence[Word]
    things: Sequence[Word]
    places: Sequence[Word]
    times: Sequence[Word]
    reasons: Sequence[Word]
    manners: Sequence[Word]

    @staticmethod
    def of(half: Half) -> Bank:
        """Return every second entry of each kind."""
        every_second = slice(half == "held-out", None, 2)
        topics = [(row["name"], row["parts"]) for row in ROWS if row["kind"] == "topic"]
        kinds = ("verb", "adjective", "actor", "thing", "place", "time", "reason", "manner")
        return Bank(dict(topics[every_second]), *(_words(kind)[every_second] for kind in kinds))


@dataclass(frozen=True)
class Statement:
    """The choices that make a statement: who does what, how, where, when and why, and `number` `unit` of `part`."""

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
        """Return the content, regardless of the sentence pattern."""
        return (self.actor, self.verb, self.thing, self.part, self.place, self.time, self.reason)


def make_statement(bank: Bank, topic: str, dice: random.Random) -> Statement:
    """Return a random statement on a topic."""
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
    """Inflect a regular verb."""
    doubled = re.fullmatch(r"[^aeiou]+[aeiou][bdgmnprt]", verb)
    stem = verb + verb[-1] if doubled else verb
    if verb.endswith("e"):
        return verb[:-1] + "ing" if form == "ing" else verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou" and form == "past":
        return verb[:-1] + "ied"
    return stem + ("ing" if form == "ing" else "ed")


def phrase(statement: Statement, dice: random.Random, paraphrased: bool = False) -> str:
    """Return the statement as a sentence; with `paraphrased`, with synonyms and another order, tense or voice."""

    def word(choice: Word) -> str:
        return dice.choice(choice[1:]) if paraphrased and len(choice) > 1 and dice.random() < 0.5 else choice[0]

    actor, verb = word(statement.actor), word(statement.verb)
    thing = f"{word(statement.quality)} {word(statement.thing)}"
    further, manner = word(statement.further), word(statement.manner)
    place, time, reason = statement.place[0], statement.time[0], statement.reason[0]
    past, past2, part = _verb(verb, "past"), _verb(further, "past"), statement.part
    measure, bare = f"{statement.number} {statement.unit}", part.removeprefix("the ")
    if paraphrased:
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
    text = ways[statement.pattern]
    text = dice.choice(OPENERS) + text if paraphrased and dice.random() < 0.3 else text
    return text[0].upper() + text[1:] + "."
