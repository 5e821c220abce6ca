"""A staircase mixture under the test's control: every word, every end and every failure."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import moa
from moa import Guarded, Layer, Message, Mixture, Prompt, Request, Response, Span, Staircase, Synthesize, Usage

QUESTION = Request((Message("system", "Be brief."), Message("user", "Why is the sky blue?")))
STEP = 16
MORE = "Short waves are scattered far more than long ones are. " * 3
"""More text than one step of a proposal."""

FIRST, SECOND = "The sky is blue as air scatters light. ", "It does so with blue most of all. "
THIRD = "At dusk it is red."


@dataclass(eq=False)
class Writer:
    """A model that writes what the test passes to it: words, an error to raise, or a response to return."""

    name: str
    context_window: int | None = None
    requests: list[Request] = field(default_factory=list)
    cancelled: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    pieces: asyncio.Queue[str | Exception | Response] = field(default_factory=asyncio.Queue)

    async def generate(self, request: Request, span: Span) -> Response:
        self.requests.append(request)
        self.news.set()
        text = ""
        try:
            while True:
                match await self.pieces.get():
                    case Exception() as error:
                        raise error
                    case Response() as end:
                        return replace(end, text=text)
                    case piece:
                        text += piece
                        if span.streaming:
                            span.text(piece)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    def writes(self, *pieces: str | Exception | Response) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)

    def ends(self, text: str = "", finish_reason: str = "stop") -> None:
        """Write the last words."""
        if text:
            self.writes(text)
        self.writes(Response(self.name, "", Usage(10, 5, 0.01), finish_reason))

    async def nth_request(self, times: int) -> Request:
        """Wait for this call and return its request."""
        while len(self.requests) < times:
            self.news.clear()
            await self.news.wait()
        return self.requests[times - 1]


@dataclass(eq=False)
class Panel:
    """Proposers and a judge under the test's control, and the result."""

    writers: list[Writer]
    judge: Writer
    mixture: Mixture
    read: str = ""  # the answer as streamed so far
    events: list[moa.Event] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, seen: moa.Event) -> None:
        self.events.append(seen)
        if isinstance(seen, moa.TextDelta) and seen.answer:
            self.read += seen.text
        self.news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for an event that makes the condition true."""
        while not true():
            self.news.clear()
            await self.news.wait()

    async def reads(self, text: str) -> None:
        """Wait until this text was streamed."""
        await self.until(lambda: self.read.endswith(text))

    async def run(self, script: Callable[[], Awaitable[Any]], request: Request = QUESTION, **how: Any) -> Response:
        how = {"words": "all", **how}
        async with asyncio.timeout(4), asyncio.TaskGroup() as group:
            task = group.create_task(moa.generate(self.mixture, request, self.see, **how))
            await script()
        return task.result()

    def notes(self, kind: str) -> list[dict[str, Any]]:
        return [event.data.as_json() for event in self.events if isinstance(event, moa.Note) and event.kind == kind]


def make_panel(count: int = 2, guard: bool = False, **how: Any) -> Panel:
    writers, judge = [Writer(name) for name in "abc"[:count]], Writer("judge")
    prompt, layer = how.pop("prompt", Prompt("Merge.")), how.pop("layer", {})
    model = how.pop("model", lambda judge: judge)(judge)
    synthesize = Synthesize(model, prompt)
    layers = (*how.pop("before", ()), Layer(how.pop("proposers", lambda x: x)(writers), **layer))
    strategies = [Staircase(STEP), *how.pop("strategies", ()), *([Guarded()] if guard else [])]
    mixture = Mixture(layers, synthesize, "panel", strategies=strategies, **how)
    return Panel(writers, judge, mixture)


def parts(message: Message) -> list[tuple[str, str, str, str]]:
    """Return the number, part, state and text of the parts in a message. All their delimiters have the same key."""
    pattern = r'<answer-(\w+) number="(\d+)" part="(\d+)" state="(\w+)"[^>]*>\n(.*?)\n</answer-\1>'
    return [found[1:] for found in re.findall(pattern, message.text, re.DOTALL)]


def prefixed(requests: Sequence[Request]) -> bool:
    """Return whether each conversation is a prefix of the next one."""
    pairs = itertools.pairwise(requests)
    return all(list(new.messages[: len(old.messages)]) == list(old.messages) for old, new in pairs)


async def simple(panel: Panel, between: Callable[[], None], *last: str, request: Request = QUESTION) -> Response:
    """Run one step on the first parts, then `between`, then the last step."""

    async def script() -> None:
        for writer in panel.writers:
            writer.writes(f"{writer.name} says: {MORE}")
        await panel.judge.nth_request(1)
        panel.judge.ends(FIRST + "Short wav", "length")
        await panel.reads(FIRST)
        between()
        await panel.judge.nth_request(2)
        panel.judge.ends(*last)

    return await panel.run(script, request)


def ending(panel: Panel) -> Callable[[], None]:
    return lambda: [writer.ends("The end.") for writer in panel.writers] and None
