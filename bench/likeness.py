"""How alike is an answer to each of its proposals, and is it more like the better ones? (Wang et al. 2024, section 3.3)

simulated   answers put together from sentences of six proposals, more of them from the better ones, some said again in
            other words: the rank correlation of likeness and quality within each sample, which should be high.
fixture     with --data: answers of Together's MoA and MoA-Lite beside five of their six proposers, and an unrelated
            model: the mean of each measure. `off` is the greatest difference from what others have computed by the same
            definitions; `first` marks whom the answers are most like, which should be the aggregator's own model.
preferred   with --data: the same answers beside models whose answers a judge compared with one baseline. None of them
            was a proposer; a positive correlation says that the answers are more like those that were preferred.

DIR holds moa_outputs/, alpaca_eval/ and selection/ as AlpacaEval lays out outputs, in JSON packed by gzip. Nine texts
and the answer decide how rare a word is; one of these, vicuna-7b's, is stood in for by vicuna-13b's if it is not there.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import MOA, arguments, outputs, report
from moa.evals.experiments.answer_similarity import MEASURES, correlation_within_samples, similarities
from moa.evals.selection.outputs import find_outputs, read_preferences
from phrasebook import Bank, make_statement, phrase

STRANGER = "alpaca-7b"
EXPECTED = {
    "Together-MoA": (
        (0.1105, 0.5556, 0.4671),
        (0.0934, 0.5312, 0.4530),
        (0.0716, 0.5083, 0.4422),
        (0.0817, 0.5047, 0.4502),
        (0.0760, 0.4998, 0.4471),
        (0.0250, 0.3403, 0.2647),
    ),
    "Together-MoA-Lite": (
        (0.1261, 0.5749, 0.4749),
        (0.1380, 0.5842, 0.4804),
        (0.0955, 0.5427, 0.4543),
        (0.1042, 0.5445, 0.4595),
        (0.0987, 0.5392, 0.4539),
    ),
}
"""BLEU, TF-IDF and Levenshtein over all 805 instructions, in the order of the proposers, then the stranger."""


def simulated(count: int) -> Iterator[dict[str, Any]]:
    """Answers by rule, which take the more of a proposal the better it is."""
    bank, dice = Bank.of("held-out"), random.Random("likeness")
    samples: dict[str, list[list[tuple[float, float]]]] = {measure: [] for measure in MEASURES}
    for _ in range(count):
        topic = dice.choice(sorted(bank.topics))
        made = [[make_statement(bank, topic, dice) for _ in range(12)] for _ in range(6)]
        quality = [dice.random() for _ in made]
        taken = [one for own, good in zip(made, quality, strict=True) for one in dice.sample(own, round(6 * good))]
        answer = " ".join(phrase(one, dice, paraphrased=dice.random() < 0.3) for one in taken)
        alike = similarities(answer, [" ".join(phrase(one, dice) for one in own) for own in made])
        for measure in MEASURES:
            values = [getattr(one, measure) for one in alike]
            samples[measure].append(list(zip(values, quality, strict=True)))
    yield {"answers": "simulated", **_correlated(samples), "samples": count}


def fixture(data: Path, count: int) -> Iterator[dict[str, Any]]:
    """The mean likeness of real answers to their proposals."""
    folder = data / "moa_outputs"
    panel = {name: outputs(folder / f"{name}.json.gz") for name in MOA}
    others = find_outputs(data, [STRANGER, "vicuna-7b", "vicuna-13b-v1.5"])
    among = [
        outputs(folder / "gpt-4o-2024-05-13.json.gz"),
        outputs(data / "alpaca_eval" / "baseline_gpt4_1106_preview.json.gz"),
        others.get("vicuna-7b", others["vicuna-13b-v1.5"]),
    ]
    for name, expected in EXPECTED.items():
        answers = outputs(folder / f"{name}.json.gz")
        found = []
        for question in list(answers)[:count]:
            texts = [*(panel[one][question] for one in MOA), others[STRANGER][question]]
            found.append(similarities(answers[question], texts, [one[question] for one in among]))
        means = [
            tuple(statistics.fmean(getattr(row[place], measure) for row in found) for measure in MEASURES)
            for place in range(len(MOA) + 1)
        ]
        best = [max(range(len(MOA)), key=lambda place, at=at: means[place][at]) for at in range(len(MEASURES))]
        for place, (model, mean) in enumerate(zip((*MOA, STRANGER), means, strict=True)):
            known = expected[place] if place < len(expected) and count >= len(answers) else None
            yield {
                "answers": name,
                "beside": model,
                **{measure: f"{value:.4f}" for measure, value in zip(MEASURES, mean, strict=True)},
                "off": f"{max(abs(a - b) for a, b in zip(mean, known, strict=True)):.4f}" if known else None,
                "first": " ".join(m for m, winner in zip(MEASURES, best, strict=True) if winner == place),
            }


def preferred(data: Path, count: int) -> Iterator[dict[str, Any]]:
    """Whether real answers are more like those that a judge preferred."""
    table = read_preferences(data / "selection" / "preference_matrix_dev.csv")
    models = find_outputs(data / "selection" / "outputs", sorted(table))
    payload = list(outputs(data / "alpaca_eval" / "baseline_gpt4_1106_preview.json.gz"))
    chosen = random.Random("preferred").sample(range(len(payload)), min(count, len(payload)))
    for name in EXPECTED:
        answers = outputs(data / "moa_outputs" / f"{name}.json.gz")
        samples: dict[str, list[list[tuple[float, float]]]] = {measure: [] for measure in MEASURES}
        for place in chosen:
            prompt = payload[place]
            scored = [
                (by_prompt[prompt], score)
                for model, by_prompt in models.items()
                if prompt in by_prompt and (score := table[model][place]) is not None
            ]
            alike = similarities(answers[prompt], [text for text, _ in scored])
            for measure in MEASURES:
                samples[measure].append(
                    [(getattr(one, measure), score) for one, (_, score) in zip(alike, scored, strict=True)]
                )
        yield {"answers": f"{name}, {len(models)} models", **_correlated(samples), "samples": len(chosen)}


def _correlated(samples: dict[str, list[list[tuple[float, float]]]]) -> dict[str, Any]:
    return {measure: correlation_within_samples(pairs).mean for measure, pairs in samples.items()}


def main() -> None:
    options = arguments(__doc__, data="", samples=100, instructions=805)
    report("rank correlation of likeness and quality", list(simulated(options.samples)), options)
    if options.data:
        data = Path(options.data)
        report("likeness of answers to proposals", list(fixture(data, options.instructions)), options)
        report("rank correlation of likeness and preference", list(preferred(data, options.samples)), options)
    else:
        print("skipped: fixture and preferred, which need --data DIR, a copy of AlpacaEval's outputs", file=sys.stderr)


if __name__ == "__main__":
    main()
