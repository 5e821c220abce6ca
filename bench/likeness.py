"""Measures how similar an answer is to each of its proposals (Wang et al. 2024, section 3.3).

Uses generated answers that favour better proposals; with `--data DIR` also real ones. DIR holds moa_outputs/,
alpaca_eval/ and selection/ in AlpacaEval's layout, as gzipped JSON.
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
"""BLEU, TF-IDF and Levenshtein similarity over all 805 instructions, by proposer and then for the unrelated model."""


def simulated(count: int) -> Iterator[dict[str, Any]]:
    """Yield the rank correlation of similarity and quality on generated answers. It should be high."""
    bank, dice = Bank.of("held-out"), random.Random("likeness")
    samples: dict[str, list[list[tuple[float, float]]]] = {measure: [] for measure in MEASURES}
    for _ in range(count):
        topic = dice.choice(sorted(bank.topics))
        proposals = [[make_statement(bank, topic, dice) for _ in range(12)] for _ in range(6)]
        quality = [dice.random() for _ in proposals]
        taken = [one for own, good in zip(proposals, quality, strict=True) for one in dice.sample(own, round(6 * good))]
        answer = " ".join(phrase(one, dice, paraphrased=dice.random() < 0.3) for one in taken)
        alike = similarities(answer, [" ".join(phrase(one, dice) for one in own) for own in proposals])
        for measure in MEASURES:
            values = [getattr(one, measure) for one in alike]
            samples[measure].append(list(zip(values, quality, strict=True)))
    yield {"answers": "simulated", **_correlated(samples), "samples": count}


def fixture(data: Path, count: int) -> Iterator[dict[str, Any]]:
    """Yield the mean similarity of Together's answers to five of their six proposals and to an unrelated model.

    `off` is the largest difference to reference values by the same definitions. `first` marks the most similar model,
    which should be the aggregator's own.
    """
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
    """Yield the rank correlation of similarity and a judge's preference, over models that were not proposers."""
    table = read_preferences(data / "selection" / "preference_matrix_dev.csv")
    models = find_outputs(data / "selection" / "outputs", sorted(table))
    instructions = list(outputs(data / "alpaca_eval" / "baseline_gpt4_1106_preview.json.gz"))
    chosen = random.Random("preferred").sample(range(len(instructions)), min(count, len(instructions)))
    for name in EXPECTED:
        answers = outputs(data / "moa_outputs" / f"{name}.json.gz")
        samples: dict[str, list[list[tuple[float, float]]]] = {measure: [] for measure in MEASURES}
        for place in chosen:
            prompt = instructions[place]
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
