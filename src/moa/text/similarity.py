"""How alike texts are, by their words alone: the cosine of their TF-IDF vectors, lowered where their facts differ.

A cosine by itself takes "it is 42" and "it is 43" for nearly the same. So what answers stand or fall with is compared
one kind at a time: numbers, names (capitals within a sentence), the verdict a text opens or ends with, the figures on
its last line. Where each of two texts has something of a kind that the other lacks, their similarity shrinks to the
share they have in common; something more on one side only is detail, not dissent. And each contradiction halves it: a
statement that one makes and the other denies, or a word in another's place, in short texts and at the end of long ones.

Only negations and verdicts need a list of words. Scripts without spaces are read by characters and pairs of them. What
no single word shows is not seen: similar words are evidence of the same answer, no proof.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .scripts import UNSPACED, is_unspaced

SHORT = 40
"""Words of a sentence or two. In a text of no more, and between the same neighbours at the end of a longer one, a word
that stands for another counts as a contradiction, and one contradiction halves the similarity."""

_TOKEN = re.compile(
    rf"[{UNSPACED}]"
    r"|(?:(?<![^\s(=<>])-)?\d+(?:[.,']\d+)*"  # 42, -1, 1,000, 3.14
    rf"|[^\W\d{UNSPACED}][^\W{UNSPACED}]*"
    r"|(?<=[\w)\]]) ?[<>=!]=? ?(?=[\w(\[])|(?<=[\w)\]]) ?[-+*/^%] (?=[\w(\[])"  # of code and formulas
)
_ENUMERATOR = re.compile(r"^([ \t]*)(\d{1,3})[.)](?=[ \t]+\S)", re.MULTILINE)
_OPENS = re.compile(r"[.!?:;\n\"“”„«»*#>|(\[•。！？]")
"""What stands before a word that has its capital for beginning something."""

_CONTRACTED = re.compile(r"(?i)\bcannot\b|\b(ca|wo|sha)n['’]t\b|n['’]t\b")
_NEGATIONS = frozenset(
    re.findall(
        r"\w+",
        "not no never none without nicht kein keine keinen nie ne pas jamais sans non nunca sin não sem nem mai senza "
        "niet geen nooit не нет ни никогда нельзя без inte aldrig ikke değil yok 不 没 沒 未 非 無 无 안 못",
    )
)
_HELPERS = frozenset(("do", "does", "did"))
_VERDICTS = frozenset(
    re.findall(
        r"\w+",
        "yes no true false correct incorrect ja nein oui non sí si não sim да нет evet hayır "
        "예 네 아니요 아니오 是 否 对 不",
    )
)


def words(text: str) -> list[str]:
    """The words, numbers and operators of a text in order; a script without spaces as characters.

    Case, width, typography and the way a number is grouped do not matter.
    """
    return [word for word, _, _ in _words(_normal(text))]


def similarities(texts: Sequence[str]) -> list[list[float]]:
    """How alike each text is to each other one, from 0 (nothing in common) to 1 (the same words and facts)."""
    read = [_Read(text) for text in texts]
    table = _table([one.terms for one in read])
    for i, one in enumerate(read):
        for j in range(i):
            if table[i][j]:
                table[i][j] = table[j][i] = table[i][j] * _concord(one, read[j])
    return table


def cosines(texts: Sequence[str]) -> list[list[float]]:
    """The same without the facts: how much each text speaks of what each other one speaks of."""
    return _table([Counter(terms(words(text))) for text in texts])


def unit_vectors(bags: Sequence[Mapping[str, int]]) -> list[dict[str, float]]:
    """Bags of words as TF-IDF vectors of length 1, these bags being all the documents there are."""
    weights = rarity(bags)
    return [unit_vector(bag, weights) for bag in bags]


def rarity(bags: Sequence[Iterable[str]]) -> dict[str, float]:
    """The inverse document frequency of every term in some bags of words, each a document.

    It is ln((1 + n) / (1 + df)) + 1, so a word that all of them use still counts.
    """
    documents = Counter(term for bag in bags for term in bag)
    return {term: math.log((1 + len(bags)) / (1 + count)) + 1 for term, count in documents.items()}


def unit_vector(bag: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, float]:
    """A bag of words as a TF-IDF vector of length 1."""
    vector = {term: count * weights[term] for term, count in bag.items()}
    length = math.sqrt(sum(weight * weight for weight in vector.values())) or 1.0
    return {term: weight / length for term, weight in vector.items()}


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The cosine of two vectors of length 1."""
    if len(other) < len(one):
        one, other = other, one
    return min(1.0, sum(weight * other[term] for term, weight in one.items() if term in other))


def _table(bags: Sequence[Mapping[str, int]]) -> list[list[float]]:
    vectors = unit_vectors(bags)
    table = [[1.0] * len(bags) for _ in bags]
    for i, one in enumerate(vectors):
        for j in range(i):
            table[i][j] = table[j][i] = cosine(one, vectors[j])
    return table


class _Read:
    """A text taken apart once for all its comparisons."""

    def __init__(self, text: str) -> None:
        plain = _normal(text)
        counted = list(_words(plain))
        self.words = [word for word, _, _ in counted]
        self.terms = Counter(terms(self.words))
        last = plain.rstrip().rfind("\n") + 1
        numbers = [(word, start) for word, start, _ in counted if word[-1].isdecimal()]
        self.kinds = {
            "numbers": {word for word, _ in numbers},
            "names": {word for word, _, named in counted if named},
            "verdict": {word for word in (*self.words[:1], *self.words[-1:]) if word in _VERDICTS},
            "conclusion": {word for word, start in numbers if start >= last},
        }
        self.said, self.denied = statements(self.words)
        end = ["", "", *self.words[-SHORT:], ""]
        self.slots = {(end[at - 2], end[at - 1], end[at + 1]): end[at] for at in range(2, len(end) - 1)}


def _concord(one: _Read, other: _Read) -> float:
    """The least share of facts of one kind that two texts have in common."""
    shares = [_share(one.kinds[kind], other.kinds[kind]) for kind in one.kinds]
    contradictions = len(one.denied & other.said) + len(other.denied & one.said)
    if len(one.words) <= SHORT and len(other.words) <= SHORT:
        contradictions += min(len(one.terms - other.terms), len(other.terms - one.terms))
    else:
        contradictions += sum(other.slots.get(slot, word) != word for slot, word in one.slots.items())
    return min(shares) / (1 + contradictions)


def _share(one: set[str], other: set[str]) -> float:
    fewer = min(len(one), len(other))
    return len(one & other) / fewer if fewer else 1.0


def _normal(text: str) -> str:
    """The text in one form of its characters, its negations written out, its lists without their numbers."""
    text = unicodedata.normalize("NFKC", text).replace("−", "-").replace("’", "'")
    text = _CONTRACTED.sub(
        lambda match: {"ca": "can not", "wo": "will not", "sha": "shall not"}.get(
            (match[1] or "").lower(), "can not" if match[0].lower() == "cannot" else " not"
        ),
        text,
    )
    expected = 1

    def without(match: re.Match[str]) -> str:
        nonlocal expected
        number = int(match[2])
        if number not in (1, expected):
            return match[0]
        expected = number + 1
        return match[1]

    return _ENUMERATOR.sub(without, text)


def _words(plain: str) -> Iterator[tuple[str, int, bool]]:
    """The words of a normal text, where each begins, and whether it is a name."""
    end = 0
    for match in _TOKEN.finditer(plain):
        word, start = match[0].strip(), match.start()
        if word[-1].isdecimal():
            yield re.sub(r"[,'](?=\d{3}(?!\d))", "", word), start, False
        elif word[0].isupper():
            if len(word) == 1:  # a choice such as (B), but neither "I" nor the article "A"
                named = word != "I" and not re.match(r" [^\W\d_]", plain[match.end() : match.end() + 2])
            else:
                named = start > 0 and not _OPENS.search(plain[end:start])
            yield word.casefold(), start, named
        else:
            yield word.casefold(), start, False
        end = match.end()


def terms(found: Sequence[str]) -> Iterator[str]:
    """The words, and pairs of neighbours in a script without spaces."""
    before = ""
    for word in found:
        yield word
        unspaced = _unspaced(word)
        if unspaced and before:
            yield before + word
        before = word if unspaced else ""


def statements(found: Sequence[str], least: int = 4) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Neighbouring words that are said, and those with a negation between them, where both are not.

    The second of them has at least so many letters: shorter words stand beside anything.
    """
    kept: list[tuple[str, bool]] = []
    negated = False
    for word in found:
        if word in _NEGATIONS:
            negated = True
            if kept and kept[-1][0] in _HELPERS:
                kept.pop()
        else:
            kept.append((word, negated))
            negated = False
    sides: tuple[set[tuple[str, ...]], set[tuple[str, ...]]] = set(), set()
    for place in range(1, len(kept)):
        word, denied = kept[place]
        if _unspaced(word):
            sides[denied].add((kept[place - 1][0], word, *(after for after, _ in kept[place + 1 : place + 2])))
        elif len(word) >= least:
            sides[denied].add((kept[place - 1][0], word))
    return sides[0] - sides[1], sides[1] - sides[0]


def _unspaced(word: str) -> bool:
    return len(word) == 1 and is_unspaced(word)
