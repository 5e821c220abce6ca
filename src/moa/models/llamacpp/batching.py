"""Batches calls that differ only in their seed into samples of one prompt, which is then read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Chunk = Mapping[str, Any]
"""One chunk of a stream in OpenAI's form."""


@dataclass(eq=False)
class Call:
    """A call that waits for its answer, or receives it. Its functions are called in a thread of the engine.

    `body` is the chat-completions call without its seed, `prompt_tokens` the most that its prompt has, `max_tokens` the
    limit of its answer. `begins` says that it can wait for calls that end a run. `take` receives the chunks of this
    call, `end` is called once after them, with the error of the engine or `None`, and `queued` if the call has to wait.
    `arrived` is the time at which its event loop had submitted all calls of one turn.
    """

    body: Mapping[str, Any]
    seed: int | None
    prompt_tokens: int
    max_tokens: int
    take: Callable[[Chunk], None]
    end: Callable[[Exception | None], None]
    queued: Callable[[], None]
    begins: bool = False
    cancelled: bool = False
    waits: bool = False
    passed: int = 0
    arrived: float | None = None


def samples(first: Call, waiting: Sequence[Call], slots: int, context: int) -> list[Call]:
    """Return a call and the waiting calls that can be answered with it: same body, the next seeds, as many as fit.

    llama.cpp gives sample i of a call with seed s the seed s + i, so each call gets the answer of its own seed.
    """
    alike = [call for call in waiting if call.body == first.body]
    if first.seed is None:
        found = [call for call in alike if call.seed is None]
    else:
        by_seed = {call.seed: call for call in reversed(alike)}
        found = [first]
        while next_one := by_seed.get(first.seed + len(found)):
            found.append(next_one)
    room = (context - first.prompt_tokens) // first.max_tokens
    return found[: max(1, min(room, slots))]


class Samples:
    """The calls of one batch. Each gets the chunks of its own sample."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.prompt_tokens = calls[0].prompt_tokens
        self._open = dict(enumerate(calls))
        self._finished = 0

    def count(self, prompt_tokens: int) -> None:
        """Replace the estimate by the true length of the prompt."""
        self.prompt_tokens = prompt_tokens
        for call in self.calls:
            call.prompt_tokens = prompt_tokens

    def tokens(self) -> int:
        """The most tokens of the context they take: one prompt and every answer."""
        return self.prompt_tokens + len(self.calls) * self.calls[0].max_tokens

    def wanted(self) -> bool:
        """Whether any of them is not cancelled."""
        return any(not call.cancelled for call in self._open.values())

    def hear(self, chunk: Chunk) -> None:
        """Pass a chunk to the call it belongs to."""
        if chunk.get("error"):
            for call in self._open.values():
                call.take(chunk)
            return
        for choice in chunk.get("choices") or ():
            index = choice.get("index", 0)
            if choice.get("finish_reason"):
                self._finished = index
            self._open[index].take({"choices": [{**choice, "index": 0}]})
        if usage := chunk.get("usage"):  # comes right after the end of its own sample
            self._open[self._finished].take({"usage": self._own(usage)})
            self._open.pop(self._finished).end(None)

    def close(self, error: Exception | None) -> None:
        """End every call that has not ended."""
        for call in self._open.values():
            call.end(error)
        self._open.clear()

    def _own(self, usage: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the usage of one sample: the engine reports the same for all, but read the prompt once."""
        if self._finished == 0:
            return usage
        return {**usage, "prompt_tokens_details": {"cached_tokens": usage["prompt_tokens"]}}
