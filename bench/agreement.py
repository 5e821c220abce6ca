"""Measures what an early exit by agreement saves, and what it costs in quality, for several thresholds.

Simulated questions run by default. `--data DIR` adds real answers: DIR holds alpaca_eval/, selection/ and moa_outputs/
in AlpacaEval's layout, as gzipped JSON lists of {instruction, output} or {instruction, output_2, preference}.
"""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import MOA, arguments, outputs, report
from moa.mixture.proposal_quality import best_proposal
from moa.mixture.strategies.early_exit import agreement
from moa.types import Response

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
PROPOSERS = 5
SKILLS = (0.95, 0.5)
"""A proposer's probability of being right on an easy and on a hard question."""
ALL_RIGHT, SOME_RIGHT, NONE_RIGHT = 0.99, 0.9, 0.15
"""The aggregator's probability of being right if all, some or none of the proposals are."""

PANELS = {
    "three siblings": ("claude", "claude-2", "claude-2.1"),
    "near ties": (
        "claude-2",
        "claude",
        "claude-2.1",
        "Mixtral-8x7B-Instruct-v0.1_concise",
        "OpenHermes-2.5-Mistral-7B",
    ),
    "weaker": ("gpt-3.5-turbo-0301", "gpt4_0613_concise", "gpt-3.5-turbo-1106", "Qwen-14B-Chat", "vicuna-13b-v1.5"),
}


class Question(NamedTuple):
    """Five proposals, which of them are right, whether all give the same answer, and whether the aggregate is right."""

    proposals: list[Response]
    right: list[bool]
    same: bool
    aggregate: bool


SUBJECTS = (
    "the northern bridge",
    "the town hall",
    "the old mill",
    "the harbour wall",
    "the iron gate",
    "the clock tower",
)
TERSE = ("{year}", "{year}.", "**{year}**", " {year}\n")
CLOSED = (
    "{Subject} was finished in {year}.",
    "It was finished in {year}: {subject}.",
    "The year is {year}.",
    "{year}",
    "In {year}, {subject} was finished.",
)
STEPS = (
    (
        "The work on {subject} began in {start}.",
        "Work on {subject} began in {start}.",
        "In {start} began the work on {subject}.",
    ),
    ("It then took {span} years to finish.", "To finish it took {span} years.", "Finishing it took {span} years then."),
    ("Both figures come from the record of the town.", "The record of the town has both figures."),
    ("No year was lost, as work went on in every winter.", "As work went on in every winter, no year was lost."),
    ("So we add {span} to {start}.", "So {span} is added to {start}.", "We add {span} to {start} now."),
)
ENDINGS = (
    "Therefore {subject} was finished in {year}.",
    "So the answer is {year}.",
    "{Subject} was finished in {year}.",
)


def simulated(kind: str, shared: float, count: int, seed: int) -> Iterator[Question]:
    """Yield questions with a known answer, half of them easy and half hard.

    "terse" proposals are a figure, "closed" ones a sentence, "reasoned" ones a derivation that ends in one, "worded"
    ones a derivation whose answer is a common word. With probability `shared` wrong proposers make the same error.
    """
    dice = random.Random(f"{kind}/{shared}/{seed}")
    for _ in range(count):
        skill, subject = dice.choice(SKILLS), dice.choice(SUBJECTS)
        start, span, error = dice.randint(1500, 1900), dice.randint(3, 40), dice.choice((-10, -1, 1, 10))
        offs = [
            0 if dice.random() < skill else error if dice.random() < shared else dice.randint(2, 9)
            for _ in range(PROPOSERS)
        ]
        facts = {"subject": subject, "Subject": subject.capitalize(), "start": start, "span": span}
        items = [_phrased(kind, dice, off, **facts, year=start + span + off) for off in offs]
        right = [off == 0 for off in offs]
        chance = ALL_RIGHT if all(right) else SOME_RIGHT if any(right) else NONE_RIGHT
        yield Question(
            [Response(f"m{place}", text) for place, text in enumerate(items)],
            right,
            len(set(offs if kind != "worded" else right)) == 1,
            dice.random() < chance,
        )


def _phrased(kind: str, dice: random.Random, off: int, **facts: Any) -> str:
    if kind in ("terse", "closed"):
        return str(dice.choice(TERSE if kind == "terse" else CLOSED)).format(**facts)
    ending = f"So of the two it is the {'newer' if off else 'older'} one." if kind == "worded" else dice.choice(ENDINGS)
    return "\n".join([*(dice.choice(step) for step in STEPS), ending]).format(**facts)


def _simulation(runs: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield rows: `false` is the share of exits whose proposals differ, `regret` the quality lost, in points."""
    for kind in ("terse", "closed", "reasoned", "worded"):
        for name, shared in (("independent", 0.0), ("shared", 0.8)):
            items = [question for run in range(runs) for question in simulated(kind, shared, count, run)]
            found = [agreement(question.proposals) for question in items]
            always = sum(question.aggregate for question in items) / len(items)
            for threshold in THRESHOLDS:
                left = [question for question, one in zip(items, found, strict=True) if one >= threshold]
                stays = [question for question, one in zip(items, found, strict=True) if one < threshold]
                quality_here = sum(
                    question.right[question.proposals.index(best_proposal(question.proposals))] for question in left
                )
                quality = (quality_here + sum(question.aggregate for question in stays)) / len(items)
                yield {
                    "data": f"simulated: {kind}, {name} errors",
                    "threshold": threshold,
                    "exits %": _percent(len(left) / len(items)),
                    "false %": _percent(sum(not question.same for question in left) / len(left)) if left else None,
                    "saved": f"{len(left) / len(items):.2f} of {PROPOSERS + 1} calls",
                    "quality %": _percent(quality),
                    "regret": round(100 * (always - quality), 3),
                    "chance": None,
                }


def _judged(data: Path) -> Iterator[dict[str, Any]]:
    """Yield rows on real answers with a judge's preference over one baseline.

    No aggregate of these models was judged. An oracle that picks the best proposal stands for it, so `regret` is an
    upper bound. `chance` is the regret of as many exits at random.
    """
    instructions = list(outputs(data / "alpaca_eval" / "baseline_gpt4_1106_preview.json.gz"))
    with (data / "selection" / "preference_matrix_dev.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, panel in PANELS.items():
        answers = []
        for model in panel:
            own = data / "selection" / "outputs" / f"{model}.json.gz"
            annotated = data / "alpaca_eval" / "annotations" / f"{model}.json.gz"
            answers.append(outputs(own) if own.exists() else outputs(annotated, "output_2"))
        items = []
        for instruction, row in zip(instructions, rows, strict=True):
            if all(row[model] for model in panel) and all(instruction in answer for answer in answers):
                proposals = [Response(m, one[instruction]) for m, one in zip(panel, answers, strict=True)]
                liked = {model: float(row[model]) for model in panel}
                quality_here = liked[best_proposal(proposals).model]
                items.append((agreement(proposals), quality_here, max(liked.values()) - quality_here))
        whole = sum(lost for _, _, lost in items) / len(items)
        for threshold in THRESHOLDS:
            left = [(quality_here, lost) for found, quality_here, lost in items if found >= threshold]
            share = len(left) / len(items)
            yield {
                "data": f"judged: {name}",
                "threshold": threshold,
                "exits %": _percent(share),
                "false %": None,
                "saved": f"{share:.2f} of {len(panel) + 1} calls",
                "quality %": _percent(sum(quality_here for quality_here, _ in left) / len(left)) if left else None,
                "regret": round(100 * sum(lost for _, lost in left) / len(items), 3),
                "chance": round(100 * whole * share, 3),
            }


def _mixed(data: Path) -> Iterator[dict[str, Any]]:
    """Yield rows on Together's MoA: the similarity of proposal and aggregate with an exit (`near`) and without."""
    proposers = [outputs(data / "moa_outputs" / f"{model}.json.gz") for model in MOA]
    aggregates = outputs(data / "moa_outputs" / "Together-MoA.json.gz")
    items = []
    for instruction, aggregate in aggregates.items():
        proposals = [Response(m, one[instruction]) for m, one in zip(MOA, proposers, strict=True)]
        near = agreement([best_proposal(proposals), Response("aggregate", aggregate)])
        items.append((agreement(proposals), near))
    for threshold in THRESHOLDS:
        left = [near for found, near in items if found >= threshold]
        others = [near for found, near in items if found < threshold]
        share = len(left) / len(items)
        yield {
            "data": "moa: five proposers, Together's aggregate",
            "threshold": threshold,
            "exits %": _percent(share),
            "saved": f"{share:.2f} of {len(MOA) + 1} calls",
            "near": round(sum(left) / len(left), 3) if left else None,
            "others": round(sum(others) / len(others), 3),
        }


def _percent(share: float) -> float:
    return round(100 * share, 1)


def main() -> None:
    options = arguments(__doc__, data="", questions=400)
    rows: list[dict[str, Any]] = list(_simulation(options.runs, options.questions))
    mixed: Sequence[dict[str, Any]] = ()
    if options.data:
        rows += _judged(Path(options.data))
        mixed = list(_mixed(Path(options.data)))
    else:
        print("skipped: judged and moa, which need --data DIR, a copy of AlpacaEval's outputs", file=sys.stderr)
    report(f"early exit by agreement, {options.questions} simulated questions a run", rows, options)
    if mixed:
        report("the proposal returned instead of Together's aggregate", mixed, options)


if __name__ == "__main__":
    main()
