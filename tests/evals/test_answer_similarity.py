"""Similarity of an answer to its proposals: three measures, and their rank correlation with scores within a sample."""

from __future__ import annotations

import math

import pytest

from moa.evals.experiments.answer_similarity import (
    Correlation,
    Similarity,
    bleu,
    correlation_within_samples,
    similarities,
    tfidf_cosines,
)

ANSWER = "the cat sat on the mat"


def test_equal_texts_have_similarity_1_and_disjoint_ones_0() -> None:
    same, other = similarities(ANSWER, [ANSWER, "xylophones buzz"])
    assert same == Similarity(pytest.approx(1), pytest.approx(1), 1.0)
    assert (other.bleu < 0.1, other.tfidf) == (True, 0.0)


def test_bleu_is_the_mean_over_three_lengths_with_the_proposal_as_reference() -> None:
    """Of "a b c d e f" a proposal "a b c d x y" has 4 of 6 words, 3 of 5 pairs, 2 of 4 threes, 1 of 3 fours; no five of
    2, for which method 1 says 0.1 of 2."""
    shares = [4 / 6, 3 / 5, 2 / 4, 1 / 3, 0.1 / 2]
    expected = [math.exp(sum(math.log(share) for share in shares[:grams]) / grams) for grams in (3, 4, 5)]
    assert bleu("a b c d e f", "a b c d x y") == pytest.approx(sum(expected) / 3)


def test_bleu_penalizes_a_short_answer_and_not_a_short_proposal() -> None:
    short, long = "a b c d e", "a b c d e f g h i j"
    assert bleu(short, long) == pytest.approx(math.exp(1 - 10 / 5))
    assert bleu(long, short) < 1


def test_words_count_less_when_more_texts_have_them() -> None:
    alone = tfidf_cosines("red sky", ["red sea"])[0]
    among = tfidf_cosines("red sky", ["red sea"], ["red wine", "red brick", "red tape"])[0]
    assert 0 < among < alone < 1


@pytest.mark.parametrize("answer", ["", "?", "我们"])
def test_texts_without_words_have_similarity_0(answer: str) -> None:
    (found,) = similarities(answer, ["!"])
    assert (found.bleu, found.tfidf, found.levenshtein) == (0.0, 0.0, 0.0)


def test_rank_correlation_is_within_samples_and_omits_samples_without_order() -> None:
    rising = [(0.1, 1.0), (0.2, 5.0), (0.9, 6.0)]
    falling = [(0.1, 9.0), (0.2, 5.0), (0.9, 1.0)]
    tied = [(0.1, 1.0), (0.2, 1.0), (0.9, 1.0)]
    assert correlation_within_samples([rising, falling, rising, tied, rising[:2]]) == Correlation(
        pytest.approx(1 / 3), 3, 2
    )
    assert correlation_within_samples([tied]) == Correlation(None, 0, 1)
