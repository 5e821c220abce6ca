"""Prices of tokens."""

from __future__ import annotations

import pytest

from moa import Usage
from moa.costs.prices import FREE, Price, cost

GPT_4O = ("gpt-4o-2024-05-13", "openai")  # 5 and 15 dollars a million tokens


def test_a_price_is_in_dollars_a_million_tokens() -> None:
    assert Price(2.0, 10.0).cost(Usage(1_000_000, 500_000)) == 7.0


def test_cached_input_costs_the_same_as_other_input_unless_it_has_a_price() -> None:
    usage = Usage(1_000_000, 0, cached_tokens=400_000)
    assert Price(2.0, 10.0).cost(usage) == 2.0
    assert Price(2.0, 10.0, cached=1.0).cost(usage) == 1.6


def test_more_cached_tokens_than_tokens_do_not_make_a_price_negative() -> None:
    odd = Usage(10, 0, cached_tokens=1_000_000)
    assert Price(2.0, 10.0).cost(odd) == pytest.approx(20e-6)
    assert cost(odd, *GPT_4O, None) is not None


def test_a_price_of_the_configuration_goes_before_the_public_one() -> None:
    assert cost(Usage(10, 10), *GPT_4O, Price(1.0, 1.0)) == pytest.approx(20e-6)
    assert cost(Usage(10, 10), *GPT_4O, FREE) == 0


def test_the_public_price_is_used_where_none_is_configured() -> None:
    assert cost(Usage(1_000_000, 1_000_000), *GPT_4O, None) == pytest.approx(20.0)


@pytest.mark.parametrize(("model", "provider"), [("no-such", "openai"), ("x", "no-such"), ("x", None)])
def test_a_price_that_nobody_knows_is_none_never_0(model: str, provider: str | None) -> None:
    assert cost(Usage(10, 10), model, provider, None) is None


def test_nothing_used_costs_nothing_and_one_unknown_cost_makes_the_sum_unknown() -> None:
    assert Usage.total([]) == Usage(cost=0.0)
    assert Usage.total([Usage(1, 2, 0.5), Usage(3, 4, 0.25)]) == Usage(4, 6, 0.75)
    assert Usage.total([Usage(1, 2, 0.5), Usage(3, 4)]) == Usage(4, 6, None)
