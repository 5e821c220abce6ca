"""Where the sentences of an answer come from: which proposals support each, how strongly, which contradict it.

It is read off the words alone, offline and in milliseconds: no model is asked. A sentence is laid beside every sentence
of a proposal, and every two neighbouring ones, and compared by TF-IDF, all sentences at hand being the documents, and
by the longest phrase they have in common. Numbers and negations are then compared one by one: where the words are alike
and those are not, the proposal contradicts.

What this sees is words. A sentence said again in wholly other words is taken for the aggregator's own, and a
contradiction without a number or a negation ("rose" where the proposal says "fell") for support. That two texts say the
same is evidence that one is the source of the other, and no proof: both may know it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, Literal

from .recall import layers, recalled
from .sentences import Kind, sentences
from .similarity import statements, terms, unit_vectors, words
from .trace import Trace

SUPPORTS = 0.5
"""The strength from which a passage supports a sentence."""

Relation = Literal["supports", "contradicts"]


@dataclass(frozen=True, slots=True)
class Source:
    """What one proposal has to say to one sentence of the answer.

    `proposal` is its place among the proposals, counted from 0. `strength` is from 0 to 1, where 1 is the same words.
    `text[start:end]` of the proposal is the passage that was matched. `why` says what is contradicted.
    """

    proposal: int
    relation: Relation
    strength: float
    start: int
    end: int
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Traced:
    """`answer[start:end]`, one sentence of the answer (or a heading, a row, a paragraph of code), and its sources, the
    strongest first. A proposal that is not among them lacks it."""

    start: int
    end: int
    kind: Kind
    sources: tuple[Source, ...] = ()

    @property
    def own(self) -> bool:
        """Whether no proposal supports it: the aggregator's own, or too far from the words of any."""
        return not any(source.relation == "supports" for source in self.sources)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal that was compared. `span` is the call that made it, where it is of a run."""

    model: str
    text: str
    span: str | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """The sentences of an answer with their sources among the proposals."""

    proposals: tuple[Proposal, ...]
    sentences: tuple[Traced, ...]

    @property
    def shares(self) -> list[float]:
        """The part of the answer that comes from each proposal, from 0 to 1, by characters.

        A sentence with several supporters is divided among them as they are strong. What is missing from 1 is the
        aggregator's own.
        """
        shares = [0.0] * len(self.proposals)
        whole = sum(one.end - one.start for one in self.sentences) or 1
        for one in self.sentences:
            supporting = [source for source in one.sources if source.relation == "supports"]
            total = sum(source.strength for source in supporting)
            for source in supporting:
                shares[source.proposal] += (one.end - one.start) / whole * source.strength / total
        return shares

    def as_json(self) -> dict[str, Any]:
        """As JSON; all places in texts are counted in characters (Unicode code points), the end not counted in.

            {"proposals": [{"model": "lab:a", "span": "9f...", "share": 0.61}, ...],
             "own": 0.12,                       the share of the answer that no proposal supports
             "sentences": [
               {"start": 0, "end": 42,          answer[start:end]
                "kind": "prose",                or "heading", "row" (of a table), "code"
                "own": false,                   whether no proposal supports it
                "sources": [                    the strongest first
                  {"proposal": 0,               place in "proposals"
                   "relation": "supports",      or "contradicts"
                   "strength": 0.93,            0..1, where 1 is the same words
                   "start": 10, "end": 55,      the passage in the text of that proposal
                   "why": null}],               what is contradicted, in words
                "lacks": [1, 2]}]}              places of the proposals that say nothing of it

        JavaScript counts UTF-16 units: there it is `[...text].slice(start, end).join("")`.
        """
        shares = self.shares
        return {
            "proposals": [
                {"model": one.model, "span": one.span, "share": round(share, 4)}
                for one, share in zip(self.proposals, shares, strict=True)
            ],
            "own": round(max(0.0, 1 - sum(shares)), 4) if self.sentences else 0.0,
            "sentences": [
                {
                    "start": one.start,
                    "end": one.end,
                    "kind": one.kind,
                    "own": one.own,
                    "sources": [asdict(source) for source in one.sources],
                    "lacks": sorted(set(range(len(shares))) - {source.proposal for source in one.sources}),
                }
                for one in self.sentences
            ],
        }


def of_run(trace: Trace) -> Provenance:
    """The provenance of a run's answer, or of what there is of it so far, in the proposals of the last layer that made
    any: those its aggregator read. Other than a mixture has none, so all is its own."""
    if not trace.root:
        return provenance("", ())
    made = next((made for made in reversed(layers(trace.root)) if made), [])
    proposals = [Proposal(node.start.model, response.text, node.start.span) for node, response in made]
    return provenance(recalled(trace.root).text, proposals)


def provenance(answer: str, proposals: Sequence[Proposal]) -> Provenance:
    """Where each sentence of the answer comes from, among these proposals."""
    asked = _read(answer)
    passages = [(place, one) for place, proposal in enumerate(proposals) for one in _paired(_read(proposal.text))]
    vectors = unit_vectors([one.bag for one in (*asked, *(passage for _, passage in passages))])
    index = _Index(vectors[len(asked) :])
    found = []
    for one, vector in zip(asked, vectors, strict=False):
        best: dict[int, Source] = {}
        for at, near in index.near(vector):
            place, passage = passages[at]
            source = _compared(one, vector, passage, vectors[len(asked) + at], near, place)
            if source and (place not in best or _rank(source) > _rank(best[place])):
                best[place] = source
        found.append(Traced(one.start, one.end, one.kind, tuple(sorted(best.values(), key=_rank, reverse=True))))
    return Provenance(tuple(proposals), tuple(found))


def _rank(source: Source) -> tuple[bool, float, int]:
    """What supports goes before what contradicts, the stronger and then the shorter passage first."""
    return source.relation == "supports", source.strength, source.start - source.end


class _Read:
    """A sentence taken apart once for all comparisons. Its numbers are one term: they are compared by themselves."""

    def __init__(self, found: Sequence[str], start: int, end: int, kind: Kind) -> None:
        self.words, self.start, self.end, self.kind = found, start, end, kind
        self.numbers = {word for word in found if re.match(r"-?\d", word)}
        self.bag = Counter("#" if word in self.numbers else _root(word) for word in terms(found))

    @cached_property
    def statements(self) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
        """Neighbouring words that are said, and that are denied."""
        return statements(self.words, least=2)

    def __add__(self, other: _Read) -> _Read:
        both = copy(self)
        both.words, both.end = [*self.words, *other.words], other.end
        both.numbers, both.bag = self.numbers | other.numbers, self.bag + other.bag
        return both


@lru_cache(maxsize=16_384)
def _root(word: str) -> str:
    """A word without its ending, so that inflected forms meet: by rule, good enough for English."""
    if len(word) > 4:
        word = re.sub(r"(?:'s|ies|ied|ing|edly|ed|es|ly|er|est|s|y|e)$", "", word) if len(word) > 4 else word
        word = re.sub(r"(.)\1$", r"\1", word)
    return word[:7]


def _read(text: str) -> list[_Read]:
    """The sentences of a text."""
    return [_Read(words(text[one.start : one.end]), one.start, one.end, one.kind) for one in sentences(text)]


def _paired(read: list[_Read]) -> list[_Read]:
    """The sentences, and every two that are neighbours."""
    return read + [one + two for one, two in pairwise(read) if one.kind == two.kind == "prose"]


class _Index:
    """Vectors by their terms, so that a sentence is only compared with what has a word in common with it."""

    def __init__(self, vectors: Sequence[Mapping[str, float]]) -> None:
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for at, vector in enumerate(vectors):
            for term, weight in vector.items():
                self._postings[term].append((at, weight))

    def near(self, vector: Mapping[str, float], least: float = 0.25) -> list[tuple[int, float]]:
        """The places of the vectors whose cosine with this one is not less, with it."""
        found: dict[int, float] = defaultdict(float)
        for term, weight in vector.items():
            for at, other in self._postings.get(term, ()):
                found[at] += weight * other
        return [(at, near) for at, near in found.items() if near >= least]


def _compared(
    one: _Read, vector: Mapping[str, float], passage: _Read, other: Mapping[str, float], near: float, place: int
) -> Source | None:
    covered = sum(weight * weight for term, weight in vector.items() if term in other)
    strength = (near * covered) ** 0.5
    if covered >= SUPPORTS or strength >= SUPPORTS:
        strength = max(strength, _phrase(one.words, passage.words))
    if strength < SUPPORTS:
        return None
    why = _contradiction(one, passage)
    if why:
        return Source(place, "contradicts", round(min(1.0, strength), 4), passage.start, passage.end, why)
    if one.numbers:
        strength *= 0.5 + 0.5 * len(one.numbers & passage.numbers) / len(one.numbers)
    if strength < SUPPORTS:
        return None
    return Source(place, "supports", round(min(1.0, strength), 4), passage.start, passage.end)


def _phrase(one: Sequence[str], other: Sequence[str]) -> float:
    """The longest run of words that two sentences have in common, as a share of the first."""
    places = defaultdict(list)
    for at, word in enumerate(other):
        places[word].append(at)
    best = 0
    runs: dict[int, int] = {}
    for word in one:
        runs = {at: runs.get(at - 1, 0) + 1 for at in places.get(word, ())}
        best = max(best, *runs.values(), 0)
    return best / len(one) if one else 0.0


def _contradiction(one: _Read, other: _Read) -> str | None:
    """What one says and the other says otherwise, in words."""
    mine, theirs = one.numbers - other.numbers, other.numbers - one.numbers
    if mine and theirs:
        return f"{', '.join(sorted(theirs))} where the answer says {', '.join(sorted(mine))}"
    if denied := one.statements[1] & other.statements[0]:
        return f"says what the answer denies: {' '.join(min(denied))}"
    if said := one.statements[0] & other.statements[1]:
        return f"denies what the answer says: {' '.join(min(said))}"
    return None
