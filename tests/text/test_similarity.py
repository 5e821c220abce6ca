"""Similarity: the same answer in similar words is similar; a different figure, name or negation is not."""

from __future__ import annotations

import math

import pytest

from moa.text.similarity import cosine, cosines, similarities, unit_vectors, words


def alike(one: str, other: str) -> float:
    return similarities([one, other])[0][1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "**42**."),
        ("Paris", "paris."),
        ("1,000 km", "1000 km"),
        ("答案是４２", "答案是42。"),
        ("I can't say.", "I cannot say."),
        ("1. red\n2. blue", "- red\n- blue"),
        ("The year was 1912.", "the year was 1912"),
    ],
)
def test_typography_case_and_numbering_make_no_difference(one: str, other: str) -> None:
    assert alike(one, other) == pytest.approx(1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "43"),
        ("yes", "no"),
        ("Yes, it opened in 1932 in the north of the town.", "No, it opened in 1932 in the north of the town."),
        ("The answer is 42.", "The answer is 43."),
        ("The temperature is -4 degrees.", "The temperature is 4 degrees."),
        ("The answer is (B).", "The answer is (C)."),
        ("The capital of France is Paris.", "The capital of France is Lyon."),
        ("Alice beats Bob", "Bob beats Alice"),
        ("You can take it with milk every day.", "You can't take it with milk every day."),
        (
            "As the gas warms at a constant volume, its pressure rises.",
            "As the gas warms at a constant volume, its pressure falls.",
        ),
        ("There is evidence for it.", "There is no evidence for it."),
        ("Die Lösung ist giftig.", "Die Lösung ist nicht giftig."),
        ("Это безопасно для детей.", "Это не безопасно для детей."),
        ("这是安全的，可以每天使用。", "这是不安全的，可以每天使用。"),
        ("東京は日本の首都です。", "京都は日本の首都です。"),
        ("답은 예입니다 42", "답은 예입니다 43"),
        ("if a < b: return a", "if a > b: return a"),
        ("def f(x):\n    return x + 1", "def f(x):\n    return x - 1"),
        ("def f(x):\n    return x + 1", "def f(x):\n    return x + 2"),
    ],
)
def test_one_thing_that_matters_keeps_short_answers_apart(one: str, other: str) -> None:
    assert alike(one, other) < 0.5


def prose(ending: str, seed: str = "river") -> str:
    body = " ".join(
        f"The {seed} has {n} bridges, and the {n}th one stands in the old part of town." for n in range(2, 9)
    )
    return f"{body}\n\n{ending}"


def test_a_long_answer_that_comes_to_another_figure_is_another_answer() -> None:
    assert alike(prose("So there are 35 bridges."), prose("So there are 36 bridges.")) == 0
    assert alike(prose("So there are 35 bridges."), prose("In all that makes 35 bridges.")) > 0.9


def test_a_statement_that_a_long_answer_denies_counts_against_it() -> None:
    one, other = "It is recommended to walk across them.", "It is not recommended to walk across them."
    assert alike(prose(one), prose(other)) < 0.55
    assert alike(prose(other), prose(other)) == pytest.approx(1)


def test_a_word_in_the_place_of_another_counts_at_the_end_of_a_long_answer() -> None:
    one, other = "So of both it is the older one.", "So of both it is the newer one."
    assert alike(prose(one), prose(other)) < 0.55
    assert alike(prose(one), prose(f"{one} Good luck!")) > 0.85


def test_detail_on_one_side_is_no_dissent() -> None:
    detailed = prose("So there are 35 bridges.") + " The oldest was built by Roebling in 1870; 35 stand today."
    assert alike(prose("So there are 35 bridges."), detailed) > 0.85


def test_answers_with_no_word_in_common_are_not_alike_at_all() -> None:
    assert similarities(["red", "blue", ""]) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_similarity_has_no_direction() -> None:
    texts = [prose("Yes, 35."), prose("No, 35.", "canal"), "35", "Yes"]
    table = similarities(texts)
    assert all(table[i][j] == table[j][i] for i in range(4) for j in range(4))
    assert similarities(texts[::-1])[0][1] == pytest.approx(table[3][2])


def test_the_facts_may_be_left_aside() -> None:
    texts = ["The answer is 42.", "The answer is 43.", "Blue"]
    expected = 3 / (3 + (math.log(4 / 2) + 1) ** 2 / (math.log(4 / 3) + 1) ** 2)
    assert cosines(texts)[0] == pytest.approx([1, expected, 0])
    assert similarities(texts)[0] == [1, 0, 0]


def test_words_are_words_of_any_script() -> None:
    assert words("Don't add 1,000 to x_1: 它不好 −3.5 and Größe") == [
        "do", "not", "add", "1000", "to", "x_1", "它", "不", "好", "-3.5", "and", "grösse",
    ]  # fmt: skip


def test_a_vector_weighs_a_word_by_how_few_use_it() -> None:
    shared, own = unit_vectors([{"a": 1, "b": 1}, {"a": 1}])
    rare = math.log(3 / 2) + 1
    assert shared == pytest.approx({"a": 1 / math.hypot(1, rare), "b": rare / math.hypot(1, rare)})
    assert own == {"a": 1}
    assert cosine(shared, own) == pytest.approx(shared["a"])
    assert unit_vectors([{}]) == [{}]
