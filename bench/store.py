"""Measures the cost of storing runs, and of listing, searching and opening them among `--count` generated runs.

Word frequencies follow Zipf's law. One run in ten is streamed word by word.
"""

from __future__ import annotations

import random
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import arguments, median, percentile, report
from moa import Event, Message, Request, SpanEnd, SpanStart, Store, TextDelta, Usage

WORDS = [
    f"{a}{b}{c}" for a in ("ba", "ke", "li", "mo", "nu", "ta") for b in ("ra", "se", "ti", "vo") for c in "abcdefgh"
]
RARE = 20_000
MIXTURES = ("moa:panel", "moa:deep", "moa:quick")


def text(dice: random.Random, words: int) -> str:
    """Return random words; the n-th has a frequency of about 1/n."""
    return " ".join(
        WORDS[place] if (place := int(RARE ** dice.random()) - 1) < len(WORDS) else f"w{place}" for _ in range(words)
    )


def events(dice: random.Random, began: float, watched: bool) -> Iterator[Event]:
    """Yield the events of one run."""
    run = f"{int(began * 1000):012x}{secrets.token_hex(10)}"
    root, clock = secrets.token_hex(8), 0.0
    question = Request((Message("user", text(dice, 20)),))
    layer = secrets.token_hex(8)
    yield SpanStart(
        run, root, 0.0, "root", dice.choice(MIXTURES), answer=True, request=question, started_at=began, version=1
    )
    yield SpanStart(run, layer, 0.0, "layer", "layer 1", root, 1)
    made = [(secrets.token_hex(8), f"lab:m{place}", text(dice, 100)) for place in range(3)]
    for place, (span, model, _) in enumerate(made):
        yield SpanStart(run, span, 0.001, "proposer", model, layer, 1, place, request=question)
    for span, _, body in made:
        clock += dice.uniform(0.1, 2.0)
        yield from deltas(span, clock, body, False, watched)
        yield SpanEnd(span, clock, None, body, "stop", Usage(30, 130, 0.0001))
    yield SpanEnd(layer, clock, usage=Usage(90, 390, 0.0003))
    prompt = Request((Message("system", "\n\n".join(body for _, _, body in made)), *question.messages))
    answer, last = text(dice, 100), secrets.token_hex(8)
    yield SpanStart(run, last, clock, "aggregator", "lab:big", root, answer=True, request=prompt)
    yield from deltas(last, clock + 0.5, answer, True, watched)
    for span in (last, root):
        yield SpanEnd(span, clock + 1.0, None, answer, "stop", Usage(430, 130, 0.002))


def deltas(span: str, clock: float, body: str, answers: bool, watched: bool) -> Iterator[Event]:
    if watched:
        for word in body.split(" "):
            yield TextDelta(span, clock, f"{word} ", answer=answers)


def written(store: Store, count: int, dice: random.Random) -> dict[str, Any]:
    """Write `count` runs; return the cost of an event for the emitting thread and for the writing thread."""
    emitting: list[float] = []
    began = time.time() - count * 60
    total, writing = 0, 0.0
    for number in range(0, count, 250):
        made = [
            event
            for one in range(min(250, count - number))
            for event in events(dice, began + (number + one) * 60, one % 10 == 0)
        ]
        begun = time.perf_counter()
        for event in made:
            store.emit(event)
            now = time.perf_counter()
            emitting.append(now - begun)
            begun = now
        started = time.perf_counter()
        assert store.flush(600), store.problem
        writing += time.perf_counter() - started
        total += len(made)
    return {
        "runs": count,
        "events": total,
        "emit us, median": 1e6 * median(emitting),
        "p99.9": 1e6 * percentile(emitting, 99.9),
        "written us each": 1e6 * writing / total,
        "MB": sum(file.stat().st_size for file in store.path.parent.iterdir()) / 1e6,
    }


def read(store: Store, runs: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    """Yield the times of typical queries, each with a new connection."""
    run_ids = [run.id for run in store.runs()]
    middle = run_ids[len(run_ids) // 2]
    queries: dict[str, Callable[[], Any]] = {
        "list the latest 20": lambda: store.runs(limit=20),
        "... from the middle on": lambda: store.runs(limit=20, before=middle),
        "... of one mixture": lambda: store.runs(limit=20, model=MIXTURES[0]),
        "... that failed (none)": lambda: store.runs(limit=20, failed=True),
        "search a word in nearly all": lambda: store.runs(limit=20, search=WORDS[0]),
        "... two frequent words": lambda: store.runs(limit=20, search=f"{WORDS[3]} {WORDS[7]}"),
        "... a rare word": lambda: store.runs(limit=20, search=f"w{RARE - 2}"),
        "... how words begin, three letters": lambda: store.runs(limit=20, search=f"{WORDS[9][:3]}*"),
        "... four": lambda: store.runs(limit=20, search=f"{WORDS[9][:4]}*"),
        "... a phrase": lambda: store.runs(limit=20, search=f'"{WORDS[0]} {WORDS[1]}"'),
        "... a word that is nowhere": lambda: store.runs(limit=20, search="nowhere"),
        "open a run": lambda: store.events(dice.choice(run_ids)),
        "figures of all models": store.figures,
        "... day by day": lambda: store.figures(by_day=True),
    }
    for what, query in queries.items():
        times = []
        for _ in range(runs):
            begun = time.perf_counter()
            query()
            times.append(time.perf_counter() - begun)
        yield {"what": what, "ms, median": 1000 * median(times), "at most": 1000 * max(times)}


def main() -> None:
    options = arguments(__doc__, runs=20, count=100_000, seed=1)
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "runs.sqlite") as store:
        report("store, writing", [written(store, options.count, dice)], options)
        report("store, reading", list(read(store, options.runs, dice)), options)


if __name__ == "__main__":
    main()
