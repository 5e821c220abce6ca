"""Is it right where the sentences of an answer are said to come from, and what does it cost to say so?

constructed  answers composed of sentences of which it is known which of six proposals they were taken from, as they are
             (`verbatim`) or said again by rule in other words, in another order, inflected (`paraphrased`), two of two
             proposals joined to one (`joined`), all of these (`mixed`); two of five sentences are in no proposal. All
             proposals speak of the same topic in the same words, and any two statements may have two of seven facts
             in common. `precision` is the share of the (sentence, proposal) pairs told that are true, those of new
             sentences counted in; `recall` the share of the true ones that are told; `own` the share of the new
             sentences that are told to be the aggregator's own.
contradicted the same where the proposal has another number, another unit (a quarter of them it does not know), or
             denies: `reported` is the share of such sentences that are told as contradicted, `false` the share of
             (sentence, proposal) pairs that are told so and are none.
cost         milliseconds for an answer of 400 words and six proposals of as many; `cpu ms` without the time in which
             other processes had the core.
real         with --data: answers of Together's MoA beside five of its six proposers. `attributed` is the share of the
             sentences that at least one supports, `strength` the median of the strongest, `contradicted` the share that
             one contradicts. Controls: the same answers beside those of models that were not asked, and beside the
             proposers' answers to another instruction, which can support nothing. `spliced` are answers put together
             from sentences of the proposers as they are, and of answers to another instruction: precision (a lower
             bound, as others may say the same), recall and own as above.

Words are in phrasebook.py, in two halves without a word of content in common: thresholds were set on the one, and what
is shown is the other (--half dev shows the first). DIR holds moa_outputs/ and selection/outputs/ as AlpacaEval lays out
outputs: lists of {instruction, output}, in JSON packed by gzip; the first 200 instructions were for setting thresholds
and are left out.
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
"""Facts that two statements may have in common, of seven."""

STRANGERS = ("claude", "wizardlm-13b", "falcon-40b-instruct", "vicuna-13b-v1.5-togetherai", "OpenHermes-2.5-Mistral-7B")
TUNED_ON = 200
FRESH = 1000
"""Held-out sets of lower numbers were looked at while the method was made."""
WORDS = 5
"""Real sentences of no more words are not spliced: "I hope this helps!" is nobody's."""


class Case(NamedTuple):
    """An answer, and for each of its sentences the proposals that it was taken from; none for a new one."""

    sentences: list[str]
    gold: list[set[int]]
    proposals: list[Proposal]


def distinct(bank: Bank, topic: str, dice: random.Random, count: int) -> list[Statement]:
    """Statements on a topic of which no two have more than a few facts in common."""
    made: list[Statement] = []
    while len(made) < count:
        one = make_statement(bank, topic, dice)
        if all(sum(a == b for a, b in zip(one.facts, other.facts, strict=True)) <= SHARED for other in made):
            made.append(one)
    return made


def case(half: Half, kind: str, seed: int) -> Case:
    """An answer by rule."""
    dice = random.Random(f"{half}/{kind}/{seed}")
    bank = Bank.of(half)
    topic = dice.choice(sorted(bank.topics))
    statements = distinct(bank, topic, dice, PROPOSALS * SENTENCES + ANSWER)
    news, known = statements[:ANSWER], statements[ANSWER:]
    held = [known[place * SENTENCES : (place + 1) * SENTENCES] for place in range(PROPOSALS)]
    for place, own in enumerate(held):  # a few things are said by two
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
    """For each sentence which proposals are said to support it, and which to contradict it."""
    found = provenance(between.join(one.sentences), one.proposals).sentences
    assert len(found) == len(one.sentences), "the sentences of the set are cut otherwise than they were made"
    return tuple(
        [{source.proposal for source in sentence.sources if source.relation == side} for sentence in found]
        for side in ("supports", "contradicts")
    )


def _measured(cases: Sequence[Case], between: str = " ") -> dict[str, Any]:
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
    """Sentences of a proposal said again with another number, or a negation."""
    there = reported = pairs = false = 0
    for seed in seeds:
        one = case(half, "verbatim", seed)
        dice = random.Random(f"{kind}/{seed}")
        expected: list[set[int]] = []
        for place, gold in enumerate(one.gold):
            changed = _changed(one.sentences[place], kind, dice) if gold and dice.random() < 0.5 else None
            expected.append(gold if changed else set())
            one.sentences[place] = changed or one.sentences[place]
        for gold, found in zip(expected, traced(one)[1], strict=True):
            there, reported = there + len(gold), reported + len(gold & found)
            pairs, false = pairs + PROPOSALS - len(gold), false + len(found - gold)
    return {"set": kind, "pairs": there, "told": reported / max(1, there), "false": false / pairs}


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
    """How long it takes, each time with other texts."""
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
    """Real answers beside real proposals."""
    answers = outputs(data / "moa_outputs" / "Together-MoA.json.gz")
    panel = [outputs(data / "moa_outputs" / f"{model}.json.gz") for model in MOA]
    strangers = [outputs(data / "selection" / "outputs" / f"{model}.json.gz") for model in STRANGERS]
    dice = random.Random("instructions")
    questions = dice.sample(list(answers)[TUNED_ON:], count)
    others = {one: dice.choice([other for other in questions if other != one]) for one in questions}
    sides = (
        ("its proposers", MOA, lambda one: [model[one] for model in panel]),
        ("models not asked", STRANGERS, lambda one: [model[one] for model in strangers]),
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
    """Answers put together from real sentences."""
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
