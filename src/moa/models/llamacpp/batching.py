"""Batches calls that differ only in their seed into samples of one prompt, which is then read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Chunk = Mapping[str, Any]
"""One chunk of a stream in OpenAI's form."""


@dataclass(eq=False)
class Call:
    """One call waiting for, or getting, its answer. Its functions are called in a thread of the engine.

    `body` is the chat-completions call without its seed; `prompt_tokens` what its prompt has at most, `max_tokens`
    what its answer may have; `begins` that it can wait for calls that end a run. `take` gets the chunks of this call
    alone, `end` is called once, after the last of them, with what went wrong in the engine or `None`; `queued` when the
    call has to wait for others. `arrived` is when its event loop had asked all that it had to ask at once.
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
    """A call, and those waiting that can be answered with it: same body, the next seeds, as many as find room.

    llama.cpp gives sample i of a call with seed s the seed s + i, so each gets the answer of its own seed.
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
