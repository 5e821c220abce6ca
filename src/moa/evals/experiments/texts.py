"""How alike an answer is to each of the proposals it was made of: the three measures of the paper (section 3.3).

bleu          BLEU over words between spaces, the proposal being the reference: the mean of that with up to 3, 4 and
              5 words in a row, all lengths counting alike, nltk's smoothing by method 1
tfidf         the cosine of TF-IDF vectors as scikit-learn makes them by default, the answer, the proposals and
              whatever else is compared being the documents
levenshtein   1 less the insertions and deletions that make one of the other, as a share of both (rapidfuzz's ratio)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ...optional import needs

with needs("eval"):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rapidfuzz import fuzz

GRAMS = (3, 4, 5)
"""Up to how many words in a row BLEU looks at; the mean is taken."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike an answer is to one proposal, each measure from 0 to 1."""

    bleu: float
    tfidf: float
    levenshtein: float


MEASURES = ("bleu", "tfidf", "levenshtein")


def likenesses(answer: str, proposals: Sequence[str], among: Sequence[str] = ()) -> list[Likeness]:
    """How alike an answer is to each proposal. `among` are further texts that decide how rare a word is."""
    return [
        Likeness(bleu(answer, proposal), cosine, fuzz.ratio(answer, proposal) / 100)
        for proposal, cosine in zip(proposals, cosines(answer, proposals, among), strict=True)
    ]


def bleu(answer: str, proposal: str) -> float:
    """BLEU of an answer with a proposal as the reference."""
    reference, words = proposal.split(), answer.split()
    if not words:
        return 0.0
    weights = [(1 / grams,) * grams for grams in GRAMS]
    found = sentence_bleu([reference], words, weights, smoothing_function=SmoothingFunction().method1)
    return fmean(found)


def cosines(answer: str, proposals: Sequence[str], among: Sequence[str] = ()) -> list[float]:
    """The TF-IDF cosine of an answer with each proposal; 0 where no text has a word."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        vectors = TfidfVectorizer().fit_transform([answer, *proposals, *among])
    except ValueError:  # an empty vocabulary
        return [0.0] * len(proposals)
    found = (vectors[1 : len(proposals) + 1] @ vectors[0].T).toarray()
    return [float(row[0]) for row in found]


@dataclass(frozen=True, slots=True)
class Correlation:
    """The mean over samples of the rank correlation within each, over `samples`; None where there was no such.

    `left_out` are samples of fewer than three proposals, or of equal likenesses or equal scores, which have no order.
    """

    mean: float | None
    samples: int
    left_out: int


def within_samples(samples: Iterable[Sequence[tuple[float, float]]]) -> Correlation:
    """Spearman's correlation of likeness and score within each sample, on the average: whether an answer is more like
    the better of its proposals. A sample is a pair of likeness and score for each proposal."""
    from scipy.stats import spearmanr

    found, left_out = [], 0
    for pairs in samples:
        alike, scores = [one for one, _ in pairs], [score for _, score in pairs]
        if len(pairs) < 3 or len(set(alike)) == 1 or len(set(scores)) == 1:
            left_out += 1
        else:
            found.append(float(spearmanr(alike, scores).statistic))
    return Correlation(fmean(found) if found else None, len(found), left_out)
