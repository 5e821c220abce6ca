"""Is a mixture's answer more similar to the better of its proposals? (Wang et al. 2024, section 3.3, Figures 4b and 6)

The proposals are the answers of the proposers, if an experiment evaluates these alone too. The measures are

bleu          BLEU over words between spaces with the proposal as the reference: the mean over up to 3, 4 and 5 words in
              a row, all lengths weighted equally, smoothing method 1 of nltk
tfidf         the cosine of TF-IDF vectors with scikit-learn's defaults; the documents are the answer, the proposals and
              further texts
levenshtein   1 minus the insertions and deletions between the texts, as a share of both (rapidfuzz's ratio)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from ...optional import needs
from ..results_folder import ResultsFolder
from ..task import ScoredSample
from .candidate import Candidate
from .paper import Experiment

with needs("eval"):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rapidfuzz import fuzz

GRAMS = (3, 4, 5)
"""The maximal numbers of words in a row for BLEU."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """The similarity of an answer to one proposal, each measure from 0 to 1."""

    bleu: float
    tfidf: float
    levenshtein: float


MEASURES = ("bleu", "tfidf", "levenshtein")


@dataclass(frozen=True, slots=True)
class Correlation:
    """The mean rank correlation within samples, over `samples` of them; `None` if there are none.

    `omitted` samples have no order: fewer than three proposals, equal similarities or equal scores.
    """

    mean: float | None
    samples: int
    omitted: int


@dataclass(frozen=True, slots=True)
class MixtureSimilarity:
    """The mean similarity of a mixture's answers to the proposals of each proposer, and, by measure, its rank
    correlation with the scores of the proposals within each sample."""

    mixture: str
    similarity: dict[str, Similarity]
    correlation: dict[str, Correlation]


def mixture_similarities(experiment: Experiment, folder: ResultsFolder) -> list[MixtureSimilarity]:
    """Return the similarities of each mixture whose proposers are evaluated alone too."""
    alone = {arm.candidate.name for arm in experiment.arms if arm.candidate.aggregator is None}
    candidates = dict.fromkeys(arm.candidate for arm in experiment.arms)
    mixtures = [one for one in candidates if one.aggregator and {name for name, _ in one.proposers} <= alone]
    return [_similarity(one, folder) for one in mixtures if one.kind == "synthesize"]


def similarities(answer: str, proposals: Sequence[str], others: Sequence[str] = ()) -> list[Similarity]:
    """Return the similarity of an answer to each proposal. `others` are further texts for the rarity of words."""
    return [
        Similarity(bleu(answer, proposal), cosine, fuzz.ratio(answer, proposal) / 100)
        for proposal, cosine in zip(proposals, tfidf_cosines(answer, proposals, others), strict=True)
    ]


def bleu(answer: str, proposal: str) -> float:
    """Return the BLEU of an answer with a proposal as the reference."""
    reference, words = proposal.split(), answer.split()
    if not words:
        return 0.0
    weights = [(1 / grams,) * grams for grams in GRAMS]
    return fmean(sentence_bleu([reference], words, weights, smoothing_function=SmoothingFunction().method1))


def tfidf_cosines(answer: str, proposals: Sequence[str], others: Sequence[str] = ()) -> list[float]:
    """Return the TF-IDF cosine of an answer with each proposal; 0 if no text has a word."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        vectors = TfidfVectorizer().fit_transform([answer, *proposals, *others])
    except ValueError:  # an empty vocabulary
        return [0.0] * len(proposals)
    cosines = (vectors[1 : len(proposals) + 1] @ vectors[0].T).toarray()
    return [float(row[0]) for row in cosines]


def correlation_within_samples(samples: Iterable[Sequence[tuple[float, float]]]) -> Correlation:
    """Return the mean of Spearman's correlation of similarity and score within each sample.

    A sample is a pair of similarity and score for each proposal.
    """
    from scipy.stats import spearmanr

    correlations, omitted = [], 0
    for pairs in samples:
        similar, scores = [similarity for similarity, _ in pairs], [score for _, score in pairs]
        if len(pairs) < 3 or len(set(similar)) == 1 or len(set(scores)) == 1:
            omitted += 1
        else:
            correlations.append(float(spearmanr(similar, scores).statistic))
    return Correlation(fmean(correlations) if correlations else None, len(correlations), omitted)


def _similarity(mixture: Candidate, folder: ResultsFolder) -> MixtureSimilarity:
    names = [name for name, _ in mixture.proposers]
    answered = list(_answers(mixture, names, folder))
    measured = [similarities(answer, [one.answer.text for one in proposals]) for answer, proposals in answered]

    def pairs(measure: str) -> Iterator[list[tuple[float, float]]]:
        for (_, proposals), similar in zip(answered, measured, strict=True):
            yield [(getattr(one, measure), _score(proposal)) for one, proposal in zip(similar, proposals, strict=True)]

    means = {
        name: Similarity(*(fmean(getattr(similar[index], measure) for similar in measured) for measure in MEASURES))
        for index, name in enumerate(names)
        if measured
    }
    return MixtureSimilarity(
        mixture.name, means, {measure: correlation_within_samples(pairs(measure)) for measure in MEASURES}
    )


def _answers(
    mixture: Candidate, names: Sequence[str], folder: ResultsFolder
) -> Iterator[tuple[str, list[ScoredSample]]]:
    """Yield the mixture's answer and the scored proposals for each sample that all have answered."""
    by_model = {name: {one.sample.id: one for one in folder.scored_samples(name)} for name in (mixture.name, *names)}
    for sample in folder.samples:
        known = [by_model[name].get(sample) for name in (mixture.name, *names)]
        complete = [one for one in known if one and one.answer.error is None and one.answer.texts]
        unscored = any(one.error or (one.scores and one.first is None) for one in complete[1:])
        if len(complete) == len(known) and not unscored:
            yield complete[0].answer.text, complete[1:]


def _score(proposal: ScoredSample) -> float:
    """Return the score of a proposal. The baseline has none: it is as good as itself."""
    return 0.5 if proposal.first is None else proposal.first
