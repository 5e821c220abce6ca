"""What a sentence states that can be compared one by one: numbers with what they are numbers of, dates, denials.

It knows digits in any script, fractions, the English words for two to twelve, the common units and the names of months
and days in English; and negations in the languages that `similarity` knows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property

from .similarity import statements, words

_COUNTS = {
    word: str(number)
    for number, word in enumerate(
        ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 2
    )
}
_FRACTION = re.compile(r"(?<![\d/.,])(?:(\d{1,3}) )?([1-9])\s?[/⁄]\s?([2-8])(?![\d/])")
_FRACTIONS = re.compile("[/⁄¼-¾⅐-⅞]")
_MONTHS = frozenset(
    ("january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december")
)  # may is no month where nothing but the word is known
_DAYS = frozenset(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))
_UNITS = {
    alias: names.split()[0]
    for names in (
        "mm millimetre millimetres millimeter millimeters",
        "cm centimetre centimetres centimeter centimeters",
        "metres m metre meter meters",
        "km kilometre kilometres kilometer kilometers",
        "inches inch",
        "feet foot ft",
        "yards yard",
        "miles mile",
        "mg milligram milligrams",
        "g gram grams",
        "kg kilogram kilograms kilo kilos",
        "tons ton tonne tonnes",
        "ounces ounce oz",
        "pounds pound lb lbs",
        "ml millilitre millilitres milliliter milliliters",
        "litres l litre liter liters",
        "gallons gallon",
        "cups cup",
        "tablespoons tablespoon tbsp",
        "teaspoons teaspoon tsp",
        "ms millisecond milliseconds",
        "seconds second sec secs",
        "minutes minute min mins",
        "hours hour hr hrs",
        "days day",
        "weeks week",
        "months month",
        "years year",
        "decades decade",
        "centuries century",
        "percent",
        "thousand",
        "million",
        "billion",
        "trillion",
        "dollars dollar usd",
        "euros euro eur",
        "celsius",
        "fahrenheit",
        "kb",
        "mb",
        "gb",
        "tb",
    )
    for alias in names.split()
}
_CANONICAL = frozenset(_UNITS.values())


def numbered(text: str) -> list[str]:
    """The words of a text as `similarity.words` has them, with fractions and the words for small counts as numbers."""
    if _FRACTIONS.search(text):
        apart = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", " ", text)
        text = _FRACTION.sub(_decimal, unicodedata.normalize("NFKC", apart))
    return [_COUNTS.get(word, word) for word in words(text)]


def _decimal(fraction: re.Match[str]) -> str:
    whole, part, of = fraction.groups()
    return f"{int(whole or 0) + int(part) / int(of):.3g}"


class Facts:
    """What some words state."""

    def __init__(self, found: Sequence[str]) -> None:
        self.words = found
        self.numbers = {word for word in found if word[0].isdecimal() or (word[0] == "-" and len(word) > 1)}

    @cached_property
    def said(self) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
        """Neighbouring words that are said, and that are denied."""
        return statements(self.words, least=2)

    @cached_property
    def around(self) -> dict[str, set[str]]:
        """Its numbers with the words beside them, and the longer ones beside those: what each is a number of."""
        found: dict[str, set[str]] = {}
        for at, word in enumerate(self.words):
            if word in self.numbers:
                near = self.words[max(0, at - 1) : at + 2]
                far = [one for one in self.words[max(0, at - 2) : at + 3] if len(one) > 3]
                found.setdefault(word, set()).update(_singular(one) for one in (*near, *far) if one not in self.numbers)
        return found

    @cached_property
    def counted(self) -> dict[str, set[str]]:
        """Its numbers with the words after them."""
        found: dict[str, set[str]] = {}
        for word, after in zip(self.words, [*self.words[1:], ""], strict=True):
            if word in self.numbers:
                found.setdefault(word, set()).add(_singular(after))
        return found

    @cached_property
    def units(self) -> dict[str, set[str]]:
        """Its numbers with the units they have."""
        return {number: known for number, after in self.counted.items() if (known := after & _CANONICAL)}


def conflict(one: Facts, other: Facts) -> str | None:
    """What the other states otherwise than the one, in words, where both speak of the same."""
    apart = [
        (one.counted[mine] & other.counted[theirs] != set(), len(around & there), mine, theirs)
        for mine, around in one.around.items()
        if mine not in other.numbers
        for theirs, there in other.around.items()
        if theirs not in one.numbers and around & there and not _measured_apart(one, mine, other, theirs)
    ]
    if apart:
        *_, mine, theirs = max(apart, key=lambda pair: pair[:2])
        return _otherwise(theirs, mine)
    for number, units in one.units.items():
        there = other.units.get(number, set())
        if there and not units & there:
            return _otherwise(f"{number} {min(there)}", f"{number} {min(units)}")
    for names in (_MONTHS, _DAYS):
        mine_only, theirs_only = ((names & set(a.words)) - set(b.words) for a, b in ((one, other), (other, one)))
        if mine_only and theirs_only:
            return _otherwise(min(theirs_only).capitalize(), min(mine_only).capitalize())
    if denied := one.said[1] & other.said[0]:
        return f"says what the answer denies: {' '.join(min(denied))}"
    if said := one.said[0] & other.said[1]:
        return f"denies what the answer says: {' '.join(min(said))}"
    return None


def _measured_apart(one: Facts, mine: str, other: Facts, theirs: str) -> bool:
    """Whether two numbers have units that cannot be compared as they are: 2 cups, 500 ml."""
    units, there = one.units.get(mine, set()), other.units.get(theirs, set())
    return bool(units and there and not units & there)


def _otherwise(theirs: str, mine: str) -> str:
    return f"{theirs} where the answer says {mine}"


def _singular(word: str) -> str:
    return _UNITS.get(word) or word.removesuffix("s")
