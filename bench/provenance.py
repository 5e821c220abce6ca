"""Measures the precision, recall and cost of tracing an answer's sentences to its proposals.

Uses generated answers (phrasebook.py; thresholds were set on `--half dev`). `--data DIR` adds Together's MoA: DIR holds
moa_outputs/ and selection/outputs/ in AlpacaEval's layout. The first 200 instructions, used for tuning, are left out.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import MOA, arguments, median, outputs, percentile, report
from moa.provenance.attribution import Proposal, provenance
from moa.text.sentences import sentences
from phrasebook import UNITS, Bank, Half, Statement, make_statement, phrase

PROPOSALS, SENTENCES, ANSWER = 6, 20, 15
SHARED = 2
"""Maximum number of the seven facts that two statements may share."""

STRANGERS = ("claude", "wizardlm-13b", "falcon-40b-instruct", "vicuna-13b-v1.5-togetherai", "OpenHermes-2.5-Mistral-7B")
TUNED_ON = 200
FRESH = 1000
"""The first held-out seed that was not used during development."""
WORDS = 5
"""Shorter real sentences are not spliced: "I hope this helps!" has no source."""


class Case(NamedTuple):
    """An answer's sentences, the source proposals of each (none for a new one), and the proposals."""

    sentences: list[str]
    gold: list[set[int]]
    proposals: list[Proposal]


def distinct(bank: Bank, topic: str, dice: random.Random, count: int) -> list[Statement]:
    """Return statements on a topic that share at most a few facts pairwise."""
    made: list[Statement] = []
    while len(made) < count:
        one = make_statement(bank, topic, dice)
        if all(sum(a == b for a, b in zip(one.facts, other.facts, strict=True)) <= SHARED for other in made):
            made.append(one)
    return made


def case(half: Half, kind: str, seed: int) -> Case:
    """Return a generated answer: two of five sentences are new, the others come from six proposals on one topic.

    They are unchanged ("verbatim"), "paraphrased", "joined" from two proposals, or "mixed".
    """
    dice = random.Random(f"{half}/{kind}/{seed}")
    bank = Bank.of(half)
    topic = dice.choice(sorted(bank.topics))
    statements = distinct(bank, topic, dice, PROPOSALS * SENTENCES + ANSWER)
    news, known = statements[:ANSWER], statements[ANSWER:]
    held = [known[place * SENTENCES : (place + 1) * SENTENCES] for place in range(PROPOSALS)]
    for place, own in enumerate(held):  # two proposals share a few statements
        own[0] = held[(place + 1) % PROPOSALS][1]
    words = {one: phrase(one, dice) for one in statements}
    proposals = [Proposal(f"m{place}", " ".join(words[one] for one in own)) for place, own in enumerate(held)]
    answer, gold = [], []
    for new in news:
        way = dice.choice(("verbatim", "paraphrased", "joined")) if kind == "mixed" else kind
        if dice.random() < 0.4:
            answer.append(words[new] if way == "verbatim" else phrase(new, dice, paraphrased=True))
            gold.append(set())
            continue
        place, other = dice.sample(range(PROPOSALS), 2)
        one = dice.choice(held[place])
        if way == "joined":
            two = dice.choice(held[other])
            answer.append(f"{words[one][:-1]}, while {words[two][0].lower()}{words[two][1:]}")
            gold.append({at for at, own in enumerate(held) if one in own or two in own})
        else:
            answer.append(words[one] if way == "verbatim" else phrase(one, dice, paraphrased=True))
            gold.append({at for at, own in enumerate(held) if one in own})
    return Case(answer, gold, proposals)


def traced(one: Case, between: str = " ") -> tuple[list[set[int]], list[set[int]]]:
    """Return for each sentence the proposals that support it, and those that contradict it."""
    found = provenance(between.join(one.sentences), one.proposals).sentences
    assert len(found) == len(one.sentences), "the answer was split into other sentences"
    return tuple(
        [{source.proposal for source in sentence.sources if source.relation == side} for sentence in found]
        for side in ("supports", "contradicts")
    )


def _measured(cases: Sequence[Case], between: str = " ") -> dict[str, Any]:
    """Return precision and recall of pairs, and the share of new sentences without a source (`own`)."""
    reported = true = right = news = own = 0
    for one in cases:
        for gold, found in zip(one.gold, traced(one, between)[0], strict=True):
            reported, true, right = reported + len(found), true + len(gold), right + len(found & gold)
            news += not gold
            own += not gold and not found
    return {
        "sentences": sum(len(one.sentences) for one in cases),
        "precision": right / max(1, reported),
        "recall": right / max(1, true),
        "own": own / max(1, news),
    }


def contradicted(half: Half, kind: str, seeds: range) -> dict[str, Any]:
    """Return how many changed numbers, units or negations are `reported`, and the share of `false` contradictions."""
    expected_pairs = reported = pairs = false = 0
    for seed in seeds:
        one = case(half, "verbatim", seed)
        dice = random.Random(f"{kind}/{seed}")
        expected: list[set[int]] = []
        for place, gold in enumerate(one.gold):
            changed = _changed(one.sentences[place], kind, dice) if gold and dice.random() < 0.5 else None
            expected.append(gold if changed else set())
            one.sentences[place] = changed or one.sentences[place]
        for gold, found in zip(expected, traced(one)[1], strict=True):
            expected_pairs, reported = expected_pairs + len(gold), reported + len(gold & found)
            pairs, false = pairs + PROPOSALS - len(gold), false + len(found - gold)
    return {"set": kind, "pairs": expected_pairs, "reported": reported / max(1, expected_pairs), "false": false / pairs}


def _changed(sentence: str, kind: str, dice: random.Random) -> str | None:
    words = sentence.split()
    for place, word in enumerate(words):
        if kind == "number" and word.isdecimal():
            words[place] = str(int(word) + dice.randint(1, 9) * 10)
            return " ".join(words)
        if kind == "unit" and word.isdecimal():
            words[place + 1] = dice.choice([unit for unit in UNITS if unit != words[place + 1]])
            return " ".join(words)
        if kind == "negation" and word in ("was", "were", "should"):
            return " ".join([*words[: place + 1], "not", *words[place + 1 :]])
    return None


def cost(half: Half, runs: int) -> dict[str, Any]:
    """Return the milliseconds for an answer and six proposals of 400 words each, with other texts each time."""
    took, busy = [], []
    for seed in range(0, 2 * runs, 2):
        pairs = zip(case(half, "mixed", seed).proposals, case(half, "mixed", seed + 1).proposals, strict=True)
        texts = [f"{one.text} {other.text}".split() for one, other in pairs]
        proposals = [Proposal("m", " ".join(words[:400])) for words in texts]
        answer = " ".join(texts[0][:200] + texts[1][:200])
        begun, worked = time.perf_counter(), time.process_time()
        provenance(answer, proposals)
        took.append(1000 * (time.perf_counter() - begun))
        busy.append(1000 * (time.process_time() - worked))
    return {
        "texts": f"{PROPOSALS + 1} of 400 words",
        "ms": median(took),
        "p95": percentile(took, 95),
        "cpu ms": median(busy),
    }


def real(data: Path, count: int) -> Iterator[dict[str, Any]]:
    """Yield rows on Together's answers: the share of supported (`attributed`) sentences, and their median `strength`.

    Controls are models that were not proposers, and the proposers' answers to another instruction.
    """
    answers = outputs(data / "moa_outputs" / "Together-MoA.json.gz")
    panel = [outputs(data / "moa_outputs" / f"{model}.json.gz") for model in MOA]
    strangers = [outputs(data / "selection" / "outputs" / f"{model}.json.gz") for model in STRANGERS]
    dice = random.Random("instructions")
    questions = dice.sample(list(answers)[TUNED_ON:], count)
    others = {one: dice.choice([other for other in questions if other != one]) for one in questions}
    sides = (
        ("its proposers", MOA, lambda one: [model[one] for model in panel]),
        ("other models", STRANGERS, lambda one: [model[one] for model in strangers]),
        ("another instruction", MOA, lambda one: [model[others[one]] for model in panel]),
    )
    for name, models, texts in sides:
        found = []
        shares = [0.0] * len(models)
        for one in questions:
            proposals = [Proposal(model, text) for model, text in zip(models, texts(one), strict=True)]
            traced = provenance(answers[one], proposals)
            found += traced.sentences
            shares = [share + more / count for share, more in zip(shares, traced.shares, strict=True)]
        best = [max(s.strength for s in one.sources if s.relation == "supports") for one in found if not one.own]
        against = sum(any(source.relation == "contradicts" for source in one.sources) for one in found)
        yield {
            "beside": name,
            "sentences": len(found),
            "attributed": len(best) / len(found),
            "strength": statistics.median(best) if best else None,
            "contradicted": against / len(found),
            "shares %": " ".join(f"{100 * share:.0f}" for share in shares),
        }


def spliced(data: Path, count: int) -> dict[str, Any]:
    """Return precision (a lower bound), recall and own on answers spliced from real sentences."""
    panel = [outputs(data / "moa_outputs" / f"{model}.json.gz") for model in MOA]
    dice = random.Random("splices")
    questions = dice.sample(list(panel[0])[TUNED_ON:], count)
    cases = []
    for one, other in zip(questions, (*questions[1:], questions[0]), strict=True):
        proposals = [Proposal(model, text[one]) for model, text in zip(MOA, panel, strict=True)]
        parts: list[tuple[str, set[int]]] = []
        for place, text in enumerate((*panel, dice.choice(panel))):
            source, gold = (text[one], {place}) if place < len(panel) else (text[other], set())
            plain = [source[s.start : s.end] for s in sentences(source) if s.kind == "prose"]
            long = [piece for piece in plain if len(piece.split()) > WORDS and "\n" not in piece]
            parts += [(piece, gold) for piece in dice.sample(long, min(len(long), 2 if gold else 6))]
        dice.shuffle(parts)
        answer = "\n\n".join(piece for piece, _ in parts)
        if [answer[s.start : s.end] for s in sentences(answer)] == [piece for piece, _ in parts]:
            gold_of = [{at for at, p in enumerate(proposals) if gold and piece in p.text} for piece, gold in parts]
            cases.append(Case([piece for piece, _ in parts], gold_of, proposals))
    return {"set": "spliced", **_measured(cases, "\n\n")}


def main() -> None:
    options = arguments(__doc__, data="", cases=60, instructions=150, half="held-out")
    half: Half = options.half
    first = FRESH if half == "held-out" else 0
    seeds = range(first, first + options.cases)
    rows = [
        {"set": kind, **_measured([case(half, kind, seed) for seed in seeds])}
        for kind in ("verbatim", "paraphrased", "joined", "mixed")
    ]
    report(f"sentences traced to their proposals, {half} words", rows, options)
    report("contradictions", [contradicted(half, kind, seeds) for kind in ("number", "unit", "negation")], options)
    report("cost", [cost(half, 4 * options.runs)], options)
    if options.data:
        data = Path(options.data)
        report("answers of Together's MoA", list(real(data, options.instructions)), options)
        report("answers spliced of real sentences", [spliced(data, options.instructions)], options)
    else:
        print("skipped: real answers, which need --data DIR, a copy of AlpacaEval's outputs", file=sys.stderr)


if __name__ == "__main__":
    main()
