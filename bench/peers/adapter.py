"""Shared code of the adapters: the task, the rounds, and one JSON line for each answer. Standard library only.

An adapter runs in its peer's environment. The peer's own output goes to standard error, apart from the JSON lines.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

First = Callable[[], None]  # callback for the first word of the answer
AskAsync = Callable[[str, First], Awaitable[str]]
AskSync = Callable[[str, First], str]

lines = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


@dataclass(frozen=True)
class Task:
    """The URL, the models, and the number of clients and rounds."""

    url: str
    proposers: tuple[str, ...]
    aggregator: str
    clients: int
    rounds: int

    @classmethod
    def from_argument(cls) -> Task:
        """Return the task in the first command-line argument."""
        payload = json.loads(sys.argv[1])
        return cls(**{**payload, "proposers": tuple(payload["proposers"])})


class Answer:
    """Times one answer and prints it."""

    def __init__(self, round_: int, client: int) -> None:
        self.round = round_
        self.question = f"Question {round_}.{client}: why is the sky blue?"
        self.words: float | None = None
        self.begun = time.monotonic()

    def first(self) -> None:
        if self.words is None:
            self.words = time.monotonic() - self.begun

    def done(self, text: str = "", error: str | None = None) -> None:
        if not error and "[whole]" not in text:
            error = f"incomplete answer of the mock upstream: {text[:200]!r}"
        at = time.monotonic()
        values = {"round": self.round, "total": at - self.begun, "first": self.words, "at": at, "error": error}
        print(json.dumps(values), file=lines)


async def _answer_async(ask: AskAsync, answer: Answer) -> None:
    try:
        answer.done(await ask(answer.question, answer.first))
    except Exception as error:  # reported as the peer's answer
        answer.done(error=f"{type(error).__name__}: {error}"[:300])


async def ask_async(task: Task, asks: Sequence[AskAsync]) -> None:
    """Ask all clients at once, round after round."""
    for number in range(task.rounds):
        await asyncio.gather(*(_answer_async(ask, Answer(number, client)) for client, ask in enumerate(asks)))


def _answer_sync(ask: AskSync, answer: Answer) -> None:
    try:
        answer.done(ask(answer.question, answer.first))
    except Exception as error:  # reported as the peer's answer
        answer.done(error=f"{type(error).__name__}: {error}"[:300])


def ask_threads(task: Task, asks: Sequence[AskSync]) -> None:
    """Ask all clients at once, each in its own thread, round after round."""
    for number in range(task.rounds):
        threads = [
            threading.Thread(target=_answer_sync, args=(ask, Answer(number, client))) for client, ask in enumerate(asks)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
