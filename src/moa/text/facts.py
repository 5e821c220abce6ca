"""Facts of a sentence that can be compared one by one: numbers with their units and nouns, dates, negations.

It recognizes digits in any script, fractions, the English words for two to twelve, common units, English names of
months and days, and negations in the languages of `similarity`.
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
)  # "may" is left out, as it is a common verb
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
    """Return the words of a text like `similarity.words`, with fractions and small number words as numbers."""
    if _FRACTIONS.search(text):
        spaced = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", " ", text)
        text = _FRACTION.sub(_decimal, unicodedata.normalize("NFKC", spaced))
    return [_COUNTS.get(word, word) for word in words(text)]


def _decimal(fraction: re.Match[str]) -> str:
    whole, part, of = fraction.groups()
    return f"{int(whole or 0) + int(part) / int(of):.3g}"


class Facts:
    """The facts of a sequence of words."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.numbers = {word for word in words if word[0].isdecimal() or (word[0] == "-" and len(word) > 1)}

    @cached_property
    def statements(self) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
        """Pairs of neighbouring words that are affirmed, and those that are negated."""
        return statements(self.words, least=2)

    @cached_property
    def around(self) -> dict[str, set[str]]:
        """The numbers with the words beside them, and the longer words beside those: what each number counts."""
        found: dict[str, set[str]] = {}
        for at, word in enumerate(self.words):
            if word in self.numbers:
                near = self.words[max(0, at - 1) : at + 2]
                far = [word for word in self.words[max(0, at - 2) : at + 3] if len(word) > 3]
                found.setdefault(word, set()).update(
                    _singular(other) for other in (*near, *far) if other not in self.numbers
                )
        return found

    @cached_property
    def counted(self) -> dict[str, set[str]]:
        """The numbers with the words after them."""
        found: dict[str, set[str]] = {}
        for word, after in zip(self.words, [*self.words[1:], ""], strict=True):
            if word in self.numbers:
                found.setdefault(word, set()).add(_singular(after))
        return found

    @cached_property
    def units(self) -> dict[str, set[str]]:
        """The numbers with their units."""
        return {number: known for number, after in self.counted.items() if (known := after & _CANONICAL)}


def conflict(one: Facts, other: Facts) -> str | None:
    """Return how the second contradicts the first, in words, or `None`."""
    differing = [
        (one.counted[mine] & other.counted[theirs] != set(), len(around & there), mine, theirs)
        for mine, around in one.around.items()
        if mine not in other.numbers
        for theirs, there in other.around.items()
        if theirs not in one.numbers and around & there and not _units_differ(one, mine, other, theirs)
    ]
    if differing:
        *_, mine, theirs = max(differing, key=lambda pair: pair[:2])
        return _otherwise(theirs, mine)
    for number, units in one.units.items():
        there = other.units.get(number, set())
        if there and not units & there:
            return _otherwise(f"{number} {min(there)}", f"{number} {min(units)}")
    for names in (_MONTHS, _DAYS):
        mine_only, theirs_only = ((names & set(a.words)) - set(b.words) for a, b in ((one, other), (other, one)))
        if mine_only and theirs_only:
            return _otherwise(min(theirs_only).capitalize(), min(mine_only).capitalize())
    if denied := one.statements[1] & other.statements[0]:
        return f"says what the answer denies: {' '.join(min(denied))}"
    if affirmed := one.statements[0] & other.statements[1]:
        return f"denies what the answer says: {' '.join(min(affirmed))}"
    return None


def _units_differ(one: Facts, mine: str, other: Facts, theirs: str) -> bool:
    """Return whether two numbers have units that cannot be compared: 2 cups, 500 ml."""
    units, there = one.units.get(mine, set()), other.units.get(theirs, set())
    return bool(units and there and not units & there)


def _otherwise(theirs: str, mine: str) -> str:
    return f"{theirs} where the answer says {mine}"


def _singular(word: str) -> str:
    return _UNITS.get(word) or word.removesuffix("s")
