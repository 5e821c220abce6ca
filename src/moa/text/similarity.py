"""The similarity of texts by their words: the cosine of their TF-IDF vectors, lowered where their facts differ.

A plain cosine rates "it is 42" and "it is 43" as nearly the same. So the decisive facts are compared kind by kind:
numbers, names (capitals within a sentence), the verdict that a text opens or ends with, the figures on its last line.
If each of two texts has a fact of a kind that the other lacks, the similarity shrinks to the share in common. A fact on
one side only is detail, not dissent. Each contradiction halves the similarity: a statement that one text makes and the
other negates, or a word replaced by another one, in short texts and at the end of long ones.

Only negations and verdicts need lists of words. Scripts without spaces are compared by characters and pairs of them.
Similar words are evidence of the same answer, not proof.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .scripts import UNSPACED, is_unspaced

SHORT = 40
"""Length of a short text in words. In it, and between the same neighbours at the end of a longer text, a replaced word
counts as a contradiction."""

_TOKEN = re.compile(
    rf"[{UNSPACED}]"
    r"|(?:(?<![^\s(=<>])-)?\d+(?:[.,']\d+)*"  # 42, -1, 1,000, 3.14
    rf"|[^\W\d{UNSPACED}][^\W{UNSPACED}]*"
    r"|(?<=[\w)\]]) ?[<>=!]=? ?(?=[\w(\[])|(?<=[\w)\]]) ?[-+*/^%] (?=[\w(\[])"  # of code and formulas
)
_ENUMERATOR = re.compile(r"^([ \t]*)(\d{1,3})[.)](?=[ \t]+\S)", re.MULTILINE)
_OPENS = re.compile(r"[.!?:;\n\"“”„«»*#>|(\[•。！？]")
"""What precedes a word that is capitalized because it begins something."""

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
    """Return the words, numbers and operators of a text in order, and single characters of scripts without spaces.

    Case, width, typography and the grouping of digits do not matter.
    """
    return [word for word, _, _ in _words(_normal(text))]


def similarities(texts: Sequence[str]) -> list[list[float]]:
    """Return the similarity of each text to each other, from 0 (nothing in common) to 1 (the same words and facts)."""
    analysed = [_Analysed(text) for text in texts]
    table = _table([one.terms for one in analysed])
    for i, one in enumerate(analysed):
        for j in range(i):
            if table[i][j]:
                table[i][j] = table[j][i] = table[i][j] * _concord(one, analysed[j])
    return table


def cosines(texts: Sequence[str]) -> list[list[float]]:
    """Return the similarities without the facts: how far two texts have the same topic."""
    return _table([Counter(terms(words(text))) for text in texts])


def unit_vectors(bags: Sequence[Mapping[str, int]]) -> list[dict[str, float]]:
    """Return bags of words as TF-IDF vectors of length 1. The bags are all the documents."""
    weights = rarity(bags)
    return [unit_vector(bag, weights) for bag in bags]


def rarity(bags: Sequence[Iterable[str]]) -> dict[str, float]:
    """Return the inverse document frequency of every term in some bags of words, each a document.

    It is ln((1 + n) / (1 + df)) + 1, so a word that all documents use still counts.
    """
    documents = Counter(term for bag in bags for term in bag)
    return {term: math.log((1 + len(bags)) / (1 + count)) + 1 for term, count in documents.items()}


def unit_vector(bag: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, float]:
    """Return a bag of words as a TF-IDF vector of length 1."""
    vector = {term: count * weights[term] for term, count in bag.items()}
    length = math.sqrt(sum(weight * weight for weight in vector.values())) or 1.0
    return {term: weight / length for term, weight in vector.items()}


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the cosine of two vectors of length 1."""
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


class _Analysed:
    """A text, analysed once for all its comparisons."""

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
        self.affirmed, self.denied = statements(self.words)
        end = ["", "", *self.words[-SHORT:], ""]
        self.slots = {(end[at - 2], end[at - 1], end[at + 1]): end[at] for at in range(2, len(end) - 1)}


def _concord(one: _Analysed, other: _Analysed) -> float:
    """Return the smallest share of facts of a kind that two texts have in common, divided for contradictions."""
    shares = [_share(one.kinds[kind], other.kinds[kind]) for kind in one.kinds]
    contradictions = len(one.denied & other.affirmed) + len(other.denied & one.affirmed)
    if len(one.words) <= SHORT and len(other.words) <= SHORT:
        contradictions += min(len(one.terms - other.terms), len(other.terms - one.terms))
    else:
        contradictions += sum(other.slots.get(slot, word) != word for slot, word in one.slots.items())
    return min(shares) / (1 + contradictions)


def _share(one: set[str], other: set[str]) -> float:
    fewer = min(len(one), len(other))
    return len(one & other) / fewer if fewer else 1.0


def _normal(text: str) -> str:
    """Return the text with normalized characters, expanded negations, and lists without their numbers."""
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
    """Yield the words of a normalized text with their positions, and whether each is a name."""
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


def terms(words: Sequence[str]) -> Iterator[str]:
    """Yield the words, and the pairs of neighbours in scripts without spaces."""
    before = ""
    for word in words:
        yield word
        unspaced = _unspaced(word)
        if unspaced and before:
            yield before + word
        before = word if unspaced else ""


def statements(words: Sequence[str], least: int = 4) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Return the pairs of neighbouring words that are affirmed, and those with a negation in between.

    Pairs that are both are left out, and so are those of which the second word has fewer than `least` letters.
    """
    kept: list[tuple[str, bool]] = []
    negated = False
    for word in words:
        if word in _NEGATIONS:
            negated = True
            if kept and kept[-1][0] in _HELPERS:
                kept.pop()
        else:
            kept.append((word, negated))
            negated = False
    sides: tuple[set[tuple[str, ...]], set[tuple[str, ...]]] = set(), set()
    for index in range(1, len(kept)):
        word, denied = kept[index]
        if _unspaced(word):
            sides[denied].add((kept[index - 1][0], word, *(after for after, _ in kept[index + 1 : index + 2])))
        elif len(word) >= least:
            sides[denied].add((kept[index - 1][0], word))
    return sides[0] - sides[1], sides[1] - sides[0]


def _unspaced(word: str) -> bool:
    return len(word) == 1 and is_unspaced(word)
