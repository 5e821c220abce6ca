"""Forecasts of a call's usage: the expected usage and the worst case are the same fold."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from moa import Layer, Message, Mixture, Request, Response, Scripted, Synthesize, Usage, Vote, WithDefaults
from moa.config.build import Builder
from moa.config.load import Config
from moa.costs.forecast import INSTRUCTION, Forecast, forecast
from moa.estimates.worst_case import QUESTION, bound
from moa.prompts.prompt import CHOOSE, SYNTHESIZE, Prompt
from moa.types import estimate_tokens
from moa.wrappers.fallback import Fallback

REQUEST = Request((Message("user", "x" * 4 * (QUESTION - 4)),))

CONFIG = """
default = "moa:panel"
[providers.up]
base_url = "http://127.0.0.1:9/v1"
price = { input = 1, output = 3 }
[mixtures.panel]
layers = 3
proposers = [{ model = "up:a", samples = 2 }, { model = "up:b", max_tokens = 100 }]
aggregator = { model = "up:c", max_tokens = 500 }
max_tokens = 50
[mixtures.outer]
proposers = ["moa:panel", "up:a"]
aggregator = "up:c"
max_tokens = 200
"""


@pytest.mark.parametrize("instruction", [SYNTHESIZE, CHOOSE])
@pytest.mark.parametrize("where", ["system", "user"])
def test_the_instruction_is_assumed_long_enough_for_six_references_with_names(instruction: str, where: str) -> None:
    references = [Response(f"provider:model-{number}", "word " * 400) for number in range(6)]
    request = Prompt(instruction, where, True)(REQUEST, references)  # type: ignore[arg-type]
    assert request.size - REQUEST.size - sum(estimate_tokens(one.text) for one in references) <= INSTRUCTION


@pytest.mark.parametrize("name", ["moa:panel", "moa:outer"])
def test_where_every_answer_has_its_limit_the_assumed_cost_is_the_worst_case(name: str) -> None:
    config = Config.model_validate(tomllib.loads(CONFIG))
    assumed, most = forecast(Builder(config, Path()).model(name), REQUEST), bound(config, name)
    assert REQUEST.size == QUESTION
    assert (assumed.calls, assumed.written, assumed.cost) == (most.calls, most.written, pytest.approx(most.cost))


def writes(tokens: int) -> WithDefaults:
    return WithDefaults(Scripted("a", "red", usage=Usage(1, 1, 0.5)), max_tokens=tokens)


def test_a_mixture_that_is_a_proposer_is_read_as_its_answer_alone() -> None:
    inner = Mixture([Layer([writes(1000), writes(2000)])], Synthesize(writes(30)))
    outer = forecast(Mixture([Layer([inner])], Synthesize(writes(40))), REQUEST)
    reads = 3 * QUESTION + (INSTRUCTION + 3000) + QUESTION + (INSTRUCTION + 30)
    assert outer == Forecast(4, Usage(reads, 3070, 2.0), 40, None)


def test_the_answer_of_a_vote_is_as_long_as_the_longest_proposal() -> None:
    assert forecast(Mixture([Layer([writes(10), writes(30), writes(20)])], Vote()), REQUEST).written == 30


def test_of_a_chain_of_fallbacks_the_first_model_is_expected_to_answer() -> None:
    assert forecast(Fallback([writes(10), writes(20)]), REQUEST).written == 10
