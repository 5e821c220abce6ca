"""Where the sentences of an answer come from: which proposals support each, how strongly, which contradict it.

It is read off the words alone, offline and in milliseconds: no model is asked. A sentence is laid beside every sentence
of a proposal, and every two neighbouring ones, and compared by TF-IDF, all sentences at hand being the documents, and
by the longest phrase they have in common. Numbers, units, dates and negations are then compared one by one: where
the words are alike and those are not, the proposal contradicts.

What this sees is words. A sentence said again in wholly other words is taken for the aggregator's own, and a
contradiction of another kind ("rose" where the proposal says "fell") for support. That two texts say the
same is evidence that one is the source of the other, and no proof: both may know it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from heapq import nlargest
from typing import TYPE_CHECKING, Literal

from ..text.facts import Facts, conflict, numbered
from ..text.sentences import Kind, sentences
from ..text.similarity import cosine, rarity, terms, unit_vector
from ..trace.tree import Trace
from ..trace.views import proposals, response_of

if TYPE_CHECKING:
    from ..json_types import ProvenanceJSON, SourceJSON

SUPPORTS = 0.34
"""The strength from which a passage supports a sentence."""
CONTRADICTS = 0.45
"""The strength from which a passage with another number, or a denial, contradicts it: so far the words must be alike
that they speak of the same."""
FAR = 0.5
"""A source of less than this share of the strongest one's strength is no source: it only speaks of the same topic."""
USUAL = 0.4
"""The most that speaking of one topic may count for: with short proposals it is not told from saying the same."""
LEAST = 0.2
"""The cosine from which a passage is looked at."""
CANDIDATES = 3
"""How many sentences of a proposal are looked at for one of the answer."""
PHRASE, WHOLE = 4, 0.6
"""Words of a common run, and the share of the sentence, from which it counts by itself, as that share."""
MOST, LONG = 1000, 5000
"""Sentences of a text, and characters of a sentence, that are looked at: so megabytes stop nobody. What comes after
them in an answer is left out of its provenance."""

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

    def as_json(self) -> SourceJSON:
        return {
            "proposal": self.proposal,
            "relation": self.relation,
            "strength": self.strength,
            "start": self.start,
            "end": self.end,
            "why": self.why,
        }


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
                part = source.strength / total if total else 1 / len(supporting)  # a judge needs no word in common
                shares[source.proposal] += part * (one.end - one.start) / whole
        return shares

    def as_json(self) -> ProvenanceJSON:
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
                    "sources": [source.as_json() for source in one.sources],
                    "lacks": sorted(set(range(len(shares))) - {source.proposal for source in one.sources}),
                }
                for one in self.sentences
            ],
        }


def of_run(trace: Trace) -> Provenance:
    """The provenance of a run's answer, or of what there is of it so far."""
    return provenance(*answered(trace))


def answered(trace: Trace) -> tuple[str, list[Proposal]]:
    """The answer of a run, or what there is of it so far, and the proposals of the last layer that made any: those its
    aggregator read. What is no mixture has none."""
    if not trace.root:
        return "", []
    made = next((made for made in reversed(proposals(trace.root)) if made), [])
    return response_of(trace.root).text, [Proposal(node.start.model, one.text, node.start.span) for node, one in made]


def provenance(answer: str, proposals: Sequence[Proposal]) -> Provenance:
    """Where each sentence of the answer (each of the first `MOST`) comes from, among these proposals."""
    corpus = _Corpus(answer, proposals)
    found = []
    known: dict[tuple[str, ...], list[Source]] = {}  # a model that has lost its way says one sentence a thousand times
    for one in corpus.asked:
        said = tuple(one.words)
        if said not in known:
            known[said] = _sources(corpus, one)
        found.append(_traced(one, known[said]))
    return Provenance(tuple(proposals), tuple(found))


def as_judged(answer: str, proposals: Sequence[Proposal], verdicts: Sequence[Mapping[int, Relation]]) -> Provenance:
    """The provenance as somebody else judged it: for each sentence of the answer, what the proposals are to it.

    The passages are the closest by their words, the strengths how alike the words are; a proposal without a word in
    common is its own passage.
    """
    corpus = _Corpus(answer, proposals)
    found = []
    for one, verdict in zip(corpus.asked, verdicts, strict=True):
        near = corpus.near(one)
        sources = []
        for place, relation in verdict.items():
            alike, start, end = 0.0, 0, len(proposals[place].text)
            if place in near.closest:
                alike, at = near.closest[place][0]
                start, end = corpus.texts[place].read[at].start, corpus.texts[place].read[at].end
            sources.append(Source(place, relation, round(near.strength(alike), 4), start, end))
        found.append(_traced(one, sources))
    return Provenance(tuple(proposals), tuple(found))


def _sources(corpus: _Corpus, one: _Read) -> list[Source]:
    """What all proposals have to say to a sentence."""
    near = corpus.near(one)
    sources = [source for place in near.closest if (source := _source(one, near, place, corpus.texts[place]))]
    enough = FAR * max((source.strength for source in sources), default=0.0)
    return [source for source in sources if source.strength >= enough]


def _traced(one: _Read, sources: Iterable[Source]) -> Traced:
    return Traced(one.start, one.end, one.kind, tuple(sorted(sources, key=_rank, reverse=True)))


def _rank(source: Source) -> tuple[bool, float, int]:
    """What supports goes before what contradicts, the stronger and then the shorter passage first."""
    return source.relation == "supports", source.strength, source.start - source.end


class _Read(Facts):
    """A sentence taken apart once for all comparisons. Its numbers are one term: they are compared by themselves."""

    def __init__(
        self, found: Sequence[str], start: int, end: int, kind: Kind, bag: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(found)
        self.start, self.end, self.kind = start, end, kind
        self.bag = bag or dict.fromkeys(("#" if word in self.numbers else _root(word) for word in terms(found)), 1)

    def __add__(self, other: _Read) -> _Read:
        """Both as one, without pairs of words across the end of the first."""
        return _Read([*self.words, *other.words], self.start, other.end, self.kind, {**self.bag, **other.bag})

    @cached_property
    def distinct(self) -> set[str]:
        """Its words, each once."""
        return set(self.words)


class _Text:
    """The sentences of a proposal with their vectors; two neighbours as one are made when they are asked for."""

    def __init__(self, read: list[_Read], weights: Mapping[str, float]) -> None:
        self.read, self.weights = read, weights
        self.vectors = [unit_vector(one.bag, weights) for one in read]
        self._pairs: dict[int, tuple[_Read, dict[str, float]]] = {}

    def pair(self, at: int) -> tuple[_Read, dict[str, float]] | None:
        """The sentence at this place with the one after it, where both are prose."""
        if at not in self._pairs:
            if not 0 <= at < len(self.read) - 1 or not self.read[at].kind == self.read[at + 1].kind == "prose":
                return None
            both = self.read[at] + self.read[at + 1]
            self._pairs[at] = both, unit_vector(both.bag, self.weights)
        return self._pairs[at]


@lru_cache(maxsize=16_384)
def _root(word: str) -> str:
    """A word without its ending, so that inflected forms meet: by rule, good enough for English."""
    if len(word) > 4:
        word = re.sub(r"(?:'s|ies|ied|ing|edly|ed|es|ly|er|est|s|y|e)$", "", word)
        word = re.sub(r"(.)\1$", r"\1", word)
    return word[:7]


def _read(text: str) -> list[_Read]:
    """The sentences of a text, as many and as much of each as are looked at."""
    return [
        _Read(numbered(text[one.start : min(one.end, one.start + LONG)]), one.start, one.end, one.kind)
        for one in sentences(text, MOST)
    ]


class _Corpus:
    """An answer and its proposals, prepared so that a sentence meets only those it has a word in common with."""

    def __init__(self, answer: str, proposals: Sequence[Proposal]) -> None:
        self.asked = _read(answer)
        read = [_read(proposal.text) for proposal in proposals]
        self._weights = rarity([one.bag for text in (self.asked, *read) for one in text])
        self.texts = [_Text(text, self._weights) for text in read]
        self._postings: dict[str, list[tuple[tuple[int, int], float]]] = defaultdict(list)
        for place, text in enumerate(self.texts):
            for at, vector in enumerate(text.vectors):
                for term, weight in vector.items():
                    self._postings[term].append(((place, at), weight))

    def near(self, one: _Read) -> _Near:
        """What is near a sentence."""
        vector = unit_vector(one.bag, self._weights)
        cosines: dict[tuple[int, int], float] = defaultdict(float)
        for term, weight in vector.items():
            for where, other in self._postings.get(term, ()):
                cosines[where] += weight * other
        alike: dict[int, list[tuple[float, int]]] = defaultdict(list)
        for (place, at), value in cosines.items():
            alike[place].append((value, at))
        closest = {place: nlargest(CANDIDATES, found) for place, found in alike.items()}
        seconds = sum(candidates[1][0] for candidates in closest.values() if len(candidates) > 1)
        usual = min(USUAL, seconds / max(1, len(self.texts)))
        near = {place: candidates for place, candidates in closest.items() if candidates[0][0] >= LEAST}
        return _Near(vector, near, usual)


@dataclass(frozen=True)
class _Near:
    """The vector of a sentence, the closest sentences of each proposal with their cosines, the closest first, and the
    cosine that is usual: what the second closest of a proposal has on the average, by speaking of the same topic."""

    vector: Mapping[str, float]
    closest: Mapping[int, Sequence[tuple[float, int]]]
    usual: float

    def strength(self, alike: float) -> float:
        """How far a cosine goes beyond the usual, from 0 to 1."""
        return min(1.0, max(0.0, (alike - self.usual) / (1 - self.usual)))


def _source(one: _Read, near: _Near, place: int, text: _Text) -> Source | None:
    """What one proposal has to say to a sentence, given what of it is near."""
    candidates = near.closest[place]
    best = candidates[0][1]
    pairs = filter(None, (text.pair(best - 1), text.pair(best)))
    passages = [(text.read[at], alike, True) for alike, at in candidates]
    passages += [(both, cosine(near.vector, other), False) for both, other in pairs]
    found = (_compared(one, passage, near.strength(alike), place, single) for passage, alike, single in passages)
    return max(filter(None, found), key=_rank, default=None)


def _compared(one: _Read, passage: _Read, strength: float, place: int, single: bool) -> Source | None:
    """What a passage has to say to a sentence; two sentences as one contradict nothing, as their facts are mixed."""
    enough = max(PHRASE, WHOLE * len(one.words))
    if sum(word in passage.distinct for word in one.words) >= enough:
        run = _phrase(one.words, passage.words)
        strength = max(strength, run / len(one.words) if run >= enough else 0.0)
    if strength < SUPPORTS:
        return None
    why = conflict(one, passage)
    if why:
        if not single or strength < CONTRADICTS:
            return None
    elif one.numbers and passage.numbers:
        strength *= 0.5 + 0.5 * len(one.numbers & passage.numbers) / len(one.numbers)
        if strength < SUPPORTS:
            return None
    relation: Relation = "contradicts" if why else "supports"
    return Source(place, relation, round(strength, 4), passage.start, passage.end, why)


def _phrase(one: Sequence[str], other: Sequence[str]) -> int:
    """The longest run of words that two sentences have in common."""
    if one == other:
        return len(one)
    places = defaultdict(list)
    for at, word in enumerate(other):
        places[word].append(at)
    best = 0
    runs: dict[int, int] = {}
    for word in one:
        runs = {at: runs.get(at - 1, 0) + 1 for at in places.get(word, ())}
        best = max(best, *runs.values(), 0)
    return best
