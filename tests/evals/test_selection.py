"""The selection of models by quality and diversity."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import random
import tomllib
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from helpers.command import configured, moa
from helpers.upstream import Body, Upstream
from moa import Scripted
from moa.config.draft import of_toml
from moa.config.load import Config, load
from moa.errors import ConfigError
from moa.evals.results_folder import ResultsFolder
from moa.evals.runner import evaluate
from moa.evals.selection.choose import SelectedMixture, choose_mixture
from moa.evals.selection.outputs import find_outputs, output_similarities, read_preferences, read_results
from moa.evals.selection.select import WEIGHTS, Method, select
from moa.evals.tasks.jsonl import JsonlTask

DATA = Path(os.environ.get("MOA_EVAL_DATA", "nowhere"))
with_data = pytest.mark.skipif(
    not (DATA / "selection" / "outputs").is_dir(),
    reason="needs answers and preferences of real models; MOA_EVAL_DATA names the folder that holds selection/",
)

PROMPTS = 200


def siblings(seed: int = 1) -> tuple[dict[str, list[float | None]], dict[tuple[str, str], float]]:
    """Return preferences and similarities of three siblings with equal knowledge, a slightly worse model with other
    knowledge, and a bad one that differs."""
    dice = random.Random(seed)
    known = [dice.random() < 0.5 for _ in range(PROMPTS)]
    judged: dict[str, list[float | None]] = {
        name: [0.9 if knows and dice.random() < 0.95 else 0.1 for knows in known]
        for name in ("kin-a", "kin-b", "kin-c")
    }
    judged["other"] = [0.9 if not knows and dice.random() < 0.8 else 0.1 for knows in known]
    judged["poor"] = [0.05] * PROMPTS
    alike = {pair: 0.8 if all(name.startswith("kin") for name in pair) else 0.4 for pair in combinations(judged, 2)}
    return judged, alike | {("other", "poor"): 0.0}


def test_the_one_that_differs_is_selected_if_the_best_are_siblings() -> None:
    judged, alike = siblings()
    both, quality = select(judged, alike, 2), select(judged, alike, 2, "quality")
    assert {name[:3] for name in quality.members} == {"kin"}
    assert both.members[0] == quality.members[0]
    assert both.members[1] == "other"
    assert both.score > quality.score + 20
    assert both.weight in WEIGHTS[1:]


def test_diversity_alone_selects_different_models_however_bad() -> None:
    judged, alike = siblings()
    found = select(judged, alike, 2, "diversity")
    assert set(found.members) == {"other", "poor"}
    assert found.weight is None


def test_diversity_has_no_weight_if_it_would_cost_quality() -> None:
    """One model has all the knowledge, so one that only differs adds nothing."""
    dice = random.Random(3)
    levels = [dice.random() for _ in range(PROMPTS)]
    judged: dict[str, list[float | None]] = {
        "strong": [0.5 * level + 0.2 for level in levels],
        "second": [0.5 * level + 0.25 if level < 0.3 else 0.5 * level for level in levels],
        "weak": [0.2 * level for level in levels],
    }
    alike = {("strong", "second"): 0.9, ("strong", "weak"): 0.75, ("second", "weak"): 0.75}
    found = select(judged, alike, 2)
    assert found.members == ("strong", "second")


def test_ties_are_resolved_by_name_in_any_order_of_models() -> None:
    judged: dict[str, list[float | None]] = {name: [0.4, 0.6] for name in "dbca"}
    assert select(judged, {}, 3, "quality").members == ("a", "b", "c")
    assert select(dict(reversed(judged.items())), {}, 3, "quality").members == ("a", "b", "c")


def test_a_missing_preference_counts_as_the_mean_of_its_model() -> None:
    found = select({"a": [0.9, None, 0.5], "b": [0.1, 0.2, 0.1]}, {}, 1, "quality")
    assert found.members == ("a",)
    assert found.score == pytest.approx(100 * fmean((0.9, 0.7, 0.5)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 7), st.data())
def test_k_models_are_selected_and_quality_selects_the_best(seed: int, models: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, models))
    dice = random.Random(seed)
    judged: dict[str, list[float | None]] = {f"m{one}": [dice.random() for _ in range(12)] for one in range(models)}
    alike = {pair: dice.random() for pair in combinations(judged, 2)}
    for method in ("both", "quality", "diversity"):
        found = select(judged, alike, k, method)  # type: ignore[arg-type]
        assert len(set(found.members)) == len(found.members) == k
        best = fmean(max(one) for one in zip(*(judged[name] for name in found.members), strict=True))  # type: ignore[type-var]
        assert found.score == pytest.approx(100 * best)
    ranked = sorted(judged, key=lambda name: -fmean(one for one in judged[name] if one is not None))
    assert list(select(judged, alike, k, "quality").members) == ranked[:k]


def test_invalid_preferences_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"k: must be from 1 to 2, .* got 3"):
        select({"a": [0.1], "b": [0.2]}, {}, 3)
    with pytest.raises(ConfigError, match="b: has no preferences"):
        select({"a": [0.1], "b": [None]}, {}, 1)
    with pytest.raises(ConfigError, match="a: preferences must be from 0 to 1"):
        select({"a": [1.4], "b": [0.3]}, {}, 1)
    with pytest.raises(ConfigError, match=r"method: .* both, quality, diversity, got 'best'"):
        select({"a": [0.1], "b": [0.2]}, {}, 1, "best")  # type: ignore[arg-type]


TEXTS = {
    "a": {"one": "The river has a bridge of iron.", "two": "Seven, or eight."},
    "b": {"one": "An iron bridge, over the river; it is old.", "two": ""},
    "c": {"one": "Nobody knows!", "two": "Eight or seven of them"},
}


def test_similarity_is_the_mean_tf_idf_cosine_fitted_on_the_answers_to_each_prompt() -> None:
    found = output_similarities(TEXTS)
    vectors = [TfidfVectorizer().fit_transform([TEXTS[name][prompt] for name in "abc"]) for prompt in ("one", "two")]
    for i, j in combinations(range(3), 2):
        expected = fmean(float((vector @ vector.T)[i, j]) for vector in vectors)
        assert found["abc"[i], "abc"[j]] == pytest.approx(expected)


def test_similarity_of_two_models_is_over_prompts_that_both_answered() -> None:
    found = output_similarities(
        {"a": {"one": "same words", "two": "apart"}, "b": {"one": "same words"}, "c": {"three": "x y"}}
    )
    assert found == {("a", "b"): pytest.approx(1)}


def written(folder: Path) -> tuple[Path, Path]:
    """Write a table of preferences, and answers in files of all supported forms."""
    judged, _ = siblings()
    table = folder / "preferences.csv"
    with table.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["index", *judged])
        lines.writerows(
            [place, *("" if place == 3 else row)] for place, row in enumerate(zip(*judged.values(), strict=True))
        )
    outputs = folder / "selection" / "outputs"
    annotations = folder / "alpaca_eval" / "annotations"
    outputs.mkdir(parents=True)
    annotations.mkdir(parents=True)
    words = {
        "kin-a": "cats sleep a lot",
        "kin-b": "cats sleep much",
        "kin-c": "a lot of cats sleep",
        "other": "dogs bark",
    }
    for name, text in words.items():
        rows = [{"instruction": "pets?", "output": text}]
        if name == "other":
            rows = json.dumps([{"instruction": "pets?", "output_1": "the baseline", "output_2": text}])
            (annotations / f"{name}.json").write_text(rows)
        elif name == "kin-b":
            (outputs / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
        else:
            (outputs / f"{name}.json").write_text(json.dumps(rows))
    return table, outputs


def test_the_command_selects_and_names_missing_answers(tmp_path: Path) -> None:
    table, outputs = written(tmp_path)
    done = moa("select", "--preferences", str(table), "--outputs", str(outputs), "--k", "2", "--json")
    found = json.loads(done.stdout)
    assert set(found) == {"members", "score", "weight"}
    assert found["members"][0].startswith("kin")
    assert found["members"][1] == "other"
    assert "has no answers of poor: they count as neither like nor unlike the others" in done.stderr


def test_only_diversity_needs_answers(tmp_path: Path) -> None:
    table, _ = written(tmp_path)
    done = moa("select", "--preferences", str(table), "--method", "quality", "--k", "1")
    assert done.stdout.startswith("kin")
    refused = moa("select", "--preferences", str(table), "--k", "1")
    assert refused.returncode == 2
    assert "needs the answers: give their folder with --outputs" in refused.stderr


@with_data
def test_diversity_helps_if_the_leaders_are_siblings_and_costs_nothing_otherwise() -> None:
    """Select real models on one half of the prompts and test them on the other; bench/selection.py has all pools."""
    table = read_preferences(DATA / "selection" / "preference_matrix_dev.csv")
    answers = find_outputs(DATA / "selection" / "outputs", list(table))
    assert set(answers) == set(table)
    gains = {}
    for name, members in (("all", list(table)), ("few", [one for one in table if not one.startswith("FuseChat")])):
        alike = output_similarities({one: answers[one] for one in members})
        found = []
        for seed in range(10):
            order = random.Random(seed).sample(range(805), 805)
            seen = {one: [table[one][prompt] for prompt in order[:402]] for one in members}
            tested = {one: [table[one][prompt] for prompt in order[402:]] for one in members}
            both, quality = (
                select({one: tested[one] for one in select(seen, alike, 3, method).members}, {}, 3, "quality").score
                for method in ("both", "quality")
            )
            found.append(both - quality)
        gains[name] = fmean(found)
    assert gains["few"] >= 1.0
    assert gains["all"] >= -0.35


RIGHT = {"lab:a": range(8), "lab:b": range(7), "lab:c": range(5, 12), "lab:weak": range(1), "moa:by-c": range(12)}
"""The questions of twelve that each model answers correctly."""

MIXTURES = """
[mixtures.panel]
proposers = ["lab:a"]
aggregator = "lab:a"

[mixtures.by-a]
proposers = ["lab:a", "lab:b", "lab:c"]
aggregator = "lab:a"

[mixtures.by-c]
proposers = ["lab:a", "lab:b", "lab:c"]
aggregator = "lab:c"
"""


def counting() -> JsonlTask:
    """Write and return a task of twelve questions."""
    heading = '{"task": "counting", "scorer": "numeric"}\n'
    lines = "".join(f'{{"prompt": "Question {one} ?", "answer": {one}}}\n' for one in range(12))
    Path("counting.jsonl").write_text(heading + lines)
    return JsonlTask.read(Path("counting.jsonl"))


def said(name: str, question: str, knows: bool) -> str:
    words = "we find by counting that it is" if name in ("lab:a", "lab:b") else "surely"
    return f"{words} {question.split()[1] if knows else 99}"


async def chosen(*models: str, k: int = 2, method: Method = "both") -> SelectedMixture:
    """Return the mixture selected from an evaluation of these models."""
    suite = counting()
    named = [name for name in models if "->" not in name]  # an experiment's own mixtures are not named by anybody
    manifest = {"task": "counting", "data": suite.version, "judge": None, "models": named}
    folder = ResultsFolder.open(Path("results", "one"), manifest, suite.samples)

    def speaking(name: str) -> Scripted:
        right = RIGHT.get(name, range(12) if name.endswith("lab:c") else range(0))
        return Scripted(name, lambda asked: said(name, asked.question, int(asked.question.split()[1]) in right))

    await evaluate(suite, {name: speaking(name) for name in models}, folder=folder)
    return choose_mixture(read_results(Path("results"), configuration()), k, method)


def configuration() -> Config:
    Path("moa.toml").write_text(f'[providers.lab]\nbase_url = "http://127.0.0.1:1/v1"\n{MIXTURES}')
    return load(Path("moa.toml"))[0]


async def test_the_best_aggregator_of_the_same_proposals_is_selected() -> None:
    found = await chosen(
        "lab:a", "lab:b", "lab:c", "moa:by-a", "moa:by-c", "lab:a x3 -> lab:b", "lab:a + lab:b -> lab:a"
    )
    assert found.table() == {"proposers": ["lab:a", "lab:c"], "aggregator": "lab:c"}
    assert found.reasons[0].startswith("lab:a proposes: 66.7 % alone, rank 1 of 3")
    assert found.reasons[-1] == (
        "lab:c aggregates: the best of those with the same proposals (lab:c 100.0 %, lab:a 0.0 %)"
    )
    assert (found.prompts, found.warnings) == (12, ())


async def test_without_measured_aggregators_the_best_model_aggregates() -> None:
    found = await chosen("lab:a", "lab:c", "lab:a + lab:c -> lab:c", "lab:a + lab:c -> lab:a picks")
    assert (found.selection.members, found.aggregator) == (("lab:a", "lab:c"), "lab:a")
    assert "moa eval experiment collaborativeness" in found.reasons[-1]


async def test_a_weak_member_and_samples_that_do_as_well_cause_warnings() -> None:
    found = await chosen("lab:a", "lab:b", "lab:weak", "moa:by-c", "lab:a x3 -> lab:c", k=3)
    assert found.warnings[0].startswith("lab:weak is much weaker than the best (8.3 % against 66.7 % of lab:a)")
    assert found.warnings[-1] == (
        "samples of one model do as well: lab:a x3 -> lab:c has 100.0 %, the best mixture of several, moa:by-c, 100.0 %"
    )


async def test_members_with_similar_answers_cause_warnings() -> None:
    found = await chosen("lab:a", "lab:b", method="quality")
    assert found.warnings[0].startswith("lab:a and lab:b have similar answers (0.9")
    assert found.warnings[1].startswith("the others add little to lab:a")


def test_a_mixture_is_selected_from_results_and_printed_with_its_reasons() -> None:
    def knowing(name: str) -> Callable[[Body], str]:
        """Answer what the model knows; as aggregators, `c` finds the right proposal and `a` does not."""

        def says(body: Body) -> str:
            *before, asked = body["messages"]
            knows = name == "lab:c" if before else int(asked["content"].split()[1]) in RIGHT[name]
            return said(name, asked["content"], knows)

        return says

    counting()
    with Upstream({name[4:]: knowing(name) for name in ("lab:a", "lab:b", "lab:c")}) as upstream:
        configured(upstream, MIXTURES)
        asked = ("-m", "lab:a", "-m", "lab:c", "-m", "moa:by-a", "-m", "moa:by-c")
        done = moa("eval", "run", "counting.jsonl", *asked)
        assert done.returncode == 0, done.stderr
    toml = moa("select", "--from", "results", "--k", "2", "--layer", "--name", "mine").stdout
    assert tomllib.loads(toml) == {"mixtures": {"mine": {"proposers": ["lab:a", "lab:c"], "aggregator": "lab:c"}}}
    assert toml.startswith("# Chosen by moa select on 12 prompts.\n# lab:a proposes: 66.7 % alone, rank 1 of 2")
    assert "# lab:c aggregates: the best of those with the same proposals" in toml
    config = load(Path("moa.toml"))[0]
    assert of_toml(config, toml).table.aggregator.model == "lab:c"


def test_the_baseline_of_a_comparison_has_a_quality_of_one_half() -> None:
    Path("open.jsonl").write_text('{"prompt": "Why?"}\n{"prompt": "How?"}\n')
    suite = JsonlTask.read(Path("open.jsonl"))
    manifest = {"task": "open", "data": suite.version, "judge": "lab:j", "models": ["lab:a", "lab:b"]}
    models = {"lab:a": Scripted("lab:a", "plain"), "lab:b": Scripted("lab:b", "better")}
    judge = Scripted("lab:j", ["Verdict: 1", "Verdict: 2", "Verdict: 1", "Verdict: tie"])
    folder = ResultsFolder.open(Path("results"), manifest, suite.samples)
    asyncio.run(evaluate(suite, models, judge=judge, folder=folder, max_concurrency=1))
    quality = {one.name: list(one.quality.values()) for one in read_results(Path("results"), configuration())}
    assert quality == {"lab:a": [0.5, 0.5], "lab:b": [1.0, 0.75]}


def test_selecting_needs_results_or_a_table_and_two_models() -> None:
    assert "no input; give --from" in moa("select").stderr
    assert "results: has no results folder" in moa("select", "--from", "results").stderr
    with pytest.raises(ConfigError, match="two single models, got"):
        asyncio.run(chosen("lab:a", "moa:by-c"))
