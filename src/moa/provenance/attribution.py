"""Attributes the sentences of an answer to proposals: which support each one, how strongly, and which contradict it.

Only words are compared, offline and in milliseconds; no model is called. A sentence is compared with each sentence of a
proposal, and each pair of adjacent ones, by TF-IDF (all sentences are the documents) and by the longest common phrase.
Numbers, units, dates and negations are then compared one by one: if the words match and those do not, the proposal
contradicts the sentence.

A paraphrase without common words counts as the aggregator's own sentence, and a contradiction of another kind ("rose"
where the proposal has "fell") as support. A match is evidence for a source, not proof: both texts may state a known
fact.
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
"""The strength from which a passage with another number, or a negation, contradicts a sentence. It is higher, so that
both are about the same thing."""
RELATIVE_STRENGTH = 0.5
"""A source must have at least this share of the strongest one's strength. A weaker one only shares the topic."""
MAX_BASELINE = 0.4
"""The maximum similarity that is attributed to a common topic. In short proposals, topic and statement look alike."""
MIN_COSINE = 0.2
"""The cosine from which a passage is considered."""
CANDIDATES = 3
"""Sentences of a proposal that are considered for one of the answer."""
MIN_PHRASE, MIN_PHRASE_SHARE = 4, 0.6
"""Words of a common phrase, and its share of the sentence, from which that share is the strength."""
MAX_SENTENCES, MAX_SENTENCE = 1000, 5000
"""Sentences of a text, and characters of a sentence, that are compared. The rest of an answer has no provenance."""

Relation = Literal["supports", "contradicts"]


@dataclass(frozen=True, slots=True)
class Source:
    """The relation of one proposal to one sentence of the answer.

    `proposal` is its index among the proposals. `strength` is from 0 to 1, where 1 means identical words.
    `text[start:end]` of the proposal is the matching passage. `why` describes what is contradicted.
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
class AttributedSentence:
    """A sentence of the answer (or a heading, a table row, a paragraph of code), `answer[start:end]`, and its sources.

    The strongest source is the first. Proposals that are not among the sources lack the sentence.
    """

    start: int
    end: int
    kind: Kind
    sources: tuple[Source, ...] = ()

    @property
    def own(self) -> bool:
        """Whether no proposal supports it: it is the aggregator's own, or too different in its words."""
        return not any(source.relation == "supports" for source in self.sources)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal of an answer. `span` is its call, if it is from a run."""

    model: str
    text: str
    span: str | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """The sentences of an answer with their sources among the proposals."""

    proposals: tuple[Proposal, ...]
    sentences: tuple[AttributedSentence, ...]

    @property
    def shares(self) -> list[float]:
        """The share of the answer that comes from each proposal, from 0 to 1, by characters.

        A sentence with several supporting proposals is divided by their strengths. The rest is the aggregator's own.
        """
        shares = [0.0] * len(self.proposals)
        whole = sum(sentence.end - sentence.start for sentence in self.sentences) or 1
        for sentence in self.sentences:
            supporting = [source for source in sentence.sources if source.relation == "supports"]
            total = sum(source.strength for source in supporting)
            for source in supporting:
                part = source.strength / total if total else 1 / len(supporting)  # judged without common words
                shares[source.proposal] += part * (sentence.end - sentence.start) / whole
        return shares

    def as_json(self) -> ProvenanceJSON:
        """Return it as JSON. Positions in texts are in characters (Unicode code points); the end is exclusive.

            {"proposals": [{"model": "lab:a", "span": "9f...", "share": 0.61}, ...],
             "own": 0.12,                       the share of the answer that no proposal supports
             "sentences": [
               {"start": 0, "end": 42,          answer[start:end]
                "kind": "prose",                or "heading", "row" (of a table), "code"
                "own": false,                   whether no proposal supports it
                "sources": [                    the strongest first
                  {"proposal": 0,               index in "proposals"
                   "relation": "supports",      or "contradicts"
                   "strength": 0.93,            0..1, where 1 means identical words
                   "start": 10, "end": 55,      the passage in the text of that proposal
                   "why": null}],               what is contradicted
                "lacks": [1, 2]}]}              indexes of the proposals without it

        JavaScript counts UTF-16 units: there it is `[...text].slice(start, end).join("")`.
        """
        shares = self.shares
        return {
            "proposals": [
                {"model": proposal.model, "span": proposal.span, "share": round(share, 4)}
                for proposal, share in zip(self.proposals, shares, strict=True)
            ],
            "own": round(max(0.0, 1 - sum(shares)), 4) if self.sentences else 0.0,
            "sentences": [
                {
                    "start": sentence.start,
                    "end": sentence.end,
                    "kind": sentence.kind,
                    "own": sentence.own,
                    "sources": [source.as_json() for source in sentence.sources],
                    "lacks": sorted(set(range(len(shares))) - {source.proposal for source in sentence.sources}),
                }
                for sentence in self.sentences
            ],
        }


def provenance_of_run(trace: Trace) -> Provenance:
    """Return the provenance of a run's answer, or of the answer so far."""
    return provenance(*answer_and_proposals(trace))


def answer_and_proposals(trace: Trace) -> tuple[str, list[Proposal]]:
    """Return the answer of a run so far, and the proposals that its aggregator read: those of the last layer with any.
    A run of a single model has none."""
    if not trace.root:
        return "", []
    made = next((made for made in reversed(proposals(trace.root)) if made), [])
    read = [Proposal(call.start.model, response.text, call.start.span) for call, response in made]
    return response_of(trace.root).text, read


def provenance(answer: str, proposals: Sequence[Proposal]) -> Provenance:
    """Return the sources of each sentence of the answer (up to `MAX_SENTENCES`) among these proposals."""
    corpus = _Corpus(answer, proposals)
    attributed = []
    known: dict[tuple[str, ...], list[Source]] = {}  # a degenerate answer may repeat a sentence a thousand times
    for sentence in corpus.answer:
        words = tuple(sentence.words)
        if words not in known:
            known[words] = _sources(corpus, sentence)
        attributed.append(_attributed(sentence, known[words]))
    return Provenance(tuple(proposals), tuple(attributed))


def as_judged(answer: str, proposals: Sequence[Proposal], verdicts: Sequence[Mapping[int, Relation]]) -> Provenance:
    """Return the provenance with the relations of a judge: for each sentence, the relations of proposals by index.

    Passages and strengths are those of the words. If a proposal has no word in common, the passage is its whole text.
    """
    corpus = _Corpus(answer, proposals)
    attributed = []
    for sentence, verdict in zip(corpus.answer, verdicts, strict=True):
        near = corpus.near(sentence)
        sources = []
        for index, relation in verdict.items():
            similarity, start, end = 0.0, 0, len(proposals[index].text)
            if index in near.closest:
                similarity, at = near.closest[index][0]
                start, end = corpus.texts[index].read[at].start, corpus.texts[index].read[at].end
            sources.append(Source(index, relation, round(near.strength(similarity), 4), start, end))
        attributed.append(_attributed(sentence, sources))
    return Provenance(tuple(proposals), tuple(attributed))


def _sources(corpus: _Corpus, sentence: _Sentence) -> list[Source]:
    """Return the sources of a sentence."""
    near = corpus.near(sentence)
    sources = [source for index in near.closest if (source := _source(sentence, near, index, corpus.texts[index]))]
    enough = RELATIVE_STRENGTH * max((source.strength for source in sources), default=0.0)
    return [source for source in sources if source.strength >= enough]


def _attributed(sentence: _Sentence, sources: Iterable[Source]) -> AttributedSentence:
    ranked = tuple(sorted(sources, key=_rank, reverse=True))
    return AttributedSentence(sentence.start, sentence.end, sentence.kind, ranked)


def _rank(source: Source) -> tuple[bool, float, int]:
    """Return a sort key: support before contradiction, then the stronger, then the shorter passage."""
    return source.relation == "supports", source.strength, source.start - source.end


class _Sentence(Facts):
    """A parsed sentence. All numbers are one term, since they are compared separately."""

    def __init__(
        self, words: Sequence[str], start: int, end: int, kind: Kind, bag: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(words)
        self.start, self.end, self.kind = start, end, kind
        self.bag = bag or dict.fromkeys(("#" if word in self.numbers else _root(word) for word in terms(words)), 1)

    def __add__(self, other: _Sentence) -> _Sentence:
        """Return both as one, without pairs of words across the boundary."""
        return _Sentence([*self.words, *other.words], self.start, other.end, self.kind, {**self.bag, **other.bag})

    @cached_property
    def distinct(self) -> set[str]:
        """Its distinct words."""
        return set(self.words)


class _Text:
    """The sentences of a proposal with their vectors. Pairs of adjacent sentences are made on demand."""

    def __init__(self, read: list[_Sentence], weights: Mapping[str, float]) -> None:
        self.read, self.weights = read, weights
        self.vectors = [unit_vector(one.bag, weights) for one in read]
        self._pairs: dict[int, tuple[_Sentence, dict[str, float]]] = {}

    def pair(self, at: int) -> tuple[_Sentence, dict[str, float]] | None:
        """Return the sentence at this index with the one after it, if both are prose."""
        if at not in self._pairs:
            if not 0 <= at < len(self.read) - 1 or not self.read[at].kind == self.read[at + 1].kind == "prose":
                return None
            both = self.read[at] + self.read[at + 1]
            self._pairs[at] = both, unit_vector(both.bag, self.weights)
        return self._pairs[at]


@lru_cache(maxsize=16_384)
def _root(word: str) -> str:
    """Return a word without its ending, so that inflected forms match. The rules suit English."""
    if len(word) > 4:
        word = re.sub(r"(?:'s|ies|ied|ing|edly|ed|es|ly|er|est|s|y|e)$", "", word)
        word = re.sub(r"(.)\1$", r"\1", word)
    return word[:7]


def _parse(text: str) -> list[_Sentence]:
    """Return the sentences of a text, up to `MAX_SENTENCES` and `MAX_SENTENCE`."""
    return [
        _Sentence(numbered(text[one.start : min(one.end, one.start + MAX_SENTENCE)]), one.start, one.end, one.kind)
        for one in sentences(text, MAX_SENTENCES)
    ]


class _Corpus:
    """An answer and its proposals, indexed so that a sentence is compared only with those that share a word."""

    def __init__(self, answer: str, proposals: Sequence[Proposal]) -> None:
        self.answer = _parse(answer)
        read = [_parse(proposal.text) for proposal in proposals]
        self._weights = rarity([one.bag for text in (self.answer, *read) for one in text])
        self.texts = [_Text(text, self._weights) for text in read]
        self._postings: dict[str, list[tuple[tuple[int, int], float]]] = defaultdict(list)
        for index, text in enumerate(self.texts):
            for at, vector in enumerate(text.vectors):
                for term, weight in vector.items():
                    self._postings[term].append(((index, at), weight))

    def near(self, sentence: _Sentence) -> _Near:
        """Return the closest sentences of the proposals."""
        vector = unit_vector(sentence.bag, self._weights)
        cosines: dict[tuple[int, int], float] = defaultdict(float)
        for term, weight in vector.items():
            for where, other in self._postings.get(term, ()):
                cosines[where] += weight * other
        similar: dict[int, list[tuple[float, int]]] = defaultdict(list)
        for (index, at), value in cosines.items():
            similar[index].append((value, at))
        closest = {index: nlargest(CANDIDATES, values) for index, values in similar.items()}
        seconds = sum(candidates[1][0] for candidates in closest.values() if len(candidates) > 1)
        baseline = min(MAX_BASELINE, seconds / max(1, len(self.texts)))
        near = {index: candidates for index, candidates in closest.items() if candidates[0][0] >= MIN_COSINE}
        return _Near(vector, near, baseline)


@dataclass(frozen=True)
class _Near:
    """The vector of a sentence, and the closest sentences of each proposal with their cosines, the closest first.

    `baseline` is the mean cosine of the second closest sentences: the similarity due to a common topic.
    """

    vector: Mapping[str, float]
    closest: Mapping[int, Sequence[tuple[float, int]]]
    baseline: float

    def strength(self, similarity: float) -> float:
        """Return how far a cosine exceeds the baseline, from 0 to 1."""
        return min(1.0, max(0.0, (similarity - self.baseline) / (1 - self.baseline)))


def _source(sentence: _Sentence, near: _Near, index: int, text: _Text) -> Source | None:
    """Return the relation of a proposal to a sentence, from its closest passages."""
    candidates = near.closest[index]
    best = candidates[0][1]
    pairs = filter(None, (text.pair(best - 1), text.pair(best)))
    passages = [(text.read[at], similarity, True) for similarity, at in candidates]
    passages += [(both, cosine(near.vector, other), False) for both, other in pairs]
    sources = (
        _compare(sentence, passage, near.strength(similarity), index, single)
        for passage, similarity, single in passages
    )
    return max(filter(None, sources), key=_rank, default=None)


def _compare(sentence: _Sentence, passage: _Sentence, strength: float, index: int, single: bool) -> Source | None:
    """Return the relation of a passage to a sentence. A pair of sentences never contradicts it."""
    enough = max(MIN_PHRASE, MIN_PHRASE_SHARE * len(sentence.words))
    if sum(word in passage.distinct for word in sentence.words) >= enough:
        run = _longest_phrase(sentence.words, passage.words)
        strength = max(strength, run / len(sentence.words) if run >= enough else 0.0)
    if strength < SUPPORTS:
        return None
    why = conflict(sentence, passage)
    if why:
        if not single or strength < CONTRADICTS:
            return None
    elif sentence.numbers and passage.numbers:
        strength *= 0.5 + 0.5 * len(sentence.numbers & passage.numbers) / len(sentence.numbers)
        if strength < SUPPORTS:
            return None
    relation: Relation = "contradicts" if why else "supports"
    return Source(index, relation, round(strength, 4), passage.start, passage.end, why)


def _longest_phrase(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length in words of the longest common phrase."""
    if one == other:
        return len(one)
    positions = defaultdict(list)
    for at, word in enumerate(other):
        positions[word].append(at)
    best = 0
    runs: dict[int, int] = {}
    for word in one:
        runs = {at: runs.get(at - 1, 0) + 1 for at in positions.get(word, ())}
        best = max(best, *runs.values(), 0)
    return best
