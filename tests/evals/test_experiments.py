"""The mixtures that each of the paper's experiments compares."""

from __future__ import annotations

import re

import pytest

from moa.errors import ConfigError
from moa.evals.experiments.candidate import Candidate
from moa.evals.experiments.paper import EXPERIMENTS, plan_experiment

MODELS = ("openai:a", "openai:b", "openai:c")
ALL = tuple((model, 1) for model in MODELS)


def names(name: str) -> dict[tuple[str, str], str]:
    return {(arm.series, arm.category): arm.candidate.name for arm in plan_experiment(name, MODELS).arms}


def test_collaborativeness_asks_each_model_alone_and_after_all_of_them() -> None:
    arms = names("collaborativeness")
    assert arms["alone", "openai:b"] == "openai:b"
    assert arms["with answers", "openai:b"] == "openai:a + openai:b + openai:c -> openai:b"
    assert len(arms) == 6


def test_roles_have_each_model_aggregate_all_and_propose_alone_for_one_aggregator() -> None:
    arms = names("roles")
    assert arms["as aggregator", "openai:c"] == "openai:a + openai:b + openai:c -> openai:c"
    assert arms["as proposer", "openai:c"] == "openai:c x6 -> openai:a"
    other = plan_experiment("roles", MODELS, "openai:b", samples=2)
    assert [arm.candidate.name for arm in other.arms if arm.series == "as proposer"] == [
        "openai:a x2 -> openai:b",
        "openai:b x2 -> openai:b",
        "openai:c x2 -> openai:b",
    ]


def test_proposers_compares_numbers_of_models_with_numbers_of_samples() -> None:
    arms = names("proposers")
    assert [at for series, at in arms if series == "one model sampled"] == ["1", "2", "3", "6"]
    assert [at for series, at in arms if series == "different models"] == ["1", "2", "3"]
    assert arms["different models", "2"] == "openai:a + openai:b -> openai:a"


def test_layers_counts_the_aggregator_and_one_layer_is_the_model_alone() -> None:
    arms = names("layers")
    assert arms["openai:b", "1"] == "openai:b"
    assert arms["openai:b", "2"] == "openai:a + openai:b + openai:c -> openai:b"
    assert arms["openai:b", "3"] == "openai:a + openai:b + openai:c -> openai:b, 3 layers"


def test_ranker_compares_an_aggregator_that_writes_with_the_same_one_that_picks() -> None:
    arms = names("ranker")
    assert arms["picks", "3"] == "openai:a + openai:b + openai:c -> openai:a picks"
    assert Candidate(ALL, "openai:a", kind="pick").table()["aggregator"] == {"kind": "pick", "model": "openai:a"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_names_its_source_and_no_two_arms_share_a_category(name: str) -> None:
    made = plan_experiment(name, MODELS)
    places = [(arm.series, arm.category) for arm in made.arms]
    assert made.name == name
    assert re.fullmatch(r"(Figure|Table) \d\w?", made.source)
    assert len(places) == len(set(places))


def test_an_unknown_experiment_and_one_model_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no experiment 'role'; did you mean 'roles'\?"):
        plan_experiment("role", MODELS)
    with pytest.raises(ConfigError, match=r"roles: .* got 1"):
        plan_experiment("roles", MODELS[:1])
