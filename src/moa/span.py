"""Run, Span and CallSpec: one question, the calls made for it, and the one way to make them, `Span.call`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from . import notes
from .errors import EmptyReply
from .events import VERSION, Note, Role, SpanEnd, SpanStart, TextDelta, TextKind
from .model import Model, unwrap_defaults
from .sinks import EventSink, headers, tee
from .types import Message, Request, Response, Usage
from .waker import Waker

if TYPE_CHECKING:
    from .budget import Budget

StreamMode = Literal["all", "answer", "none"]
"""Whose text is streamed to the event sink. A backend streams only where it is needed."""

TextListener = Callable[[str | None], None]
"""Receives the text of one call as it streams; `None` voids everything so far."""

TextFilter = Callable[[str | None], str]
"""Receives the text of an answer as it streams and returns the text to emit now; `None` voids everything so far."""

CacheUse = Literal["shared", "private", "refresh"]
"""How a call uses caches: "private" does not wait for an identical call in progress, "refresh" neither reads nor
writes."""


@dataclass(frozen=True, slots=True)
class CallSpec:
    """What a call is for.

    `layer` counts from 1, `index` is the position of a proposer in its layer, from 0. The text is part of the run's
    answer if `is_answer` is set here and all the way up. `listener` receives the text as it streams, whatever the
    run's event sink wants; `text_filter` decides which text of an answer is emitted, and when. `cache` holds for the
    calls below too, where "refresh" outweighs "private", and that "shared".
    """

    role: Role
    layer: int | None = None
    index: int | None = None
    is_answer: bool = False
    listener: TextListener | None = None
    text_filter: TextFilter | None = None
    cache: CacheUse = "shared"


class Run:
    """One question being answered: its id, its clock, its event sink, and whether it should finish early."""

    def __init__(self, emit: EventSink | None = None, words: StreamMode = "none", budget: Budget | None = None) -> None:
        self.budget = budget
        self.started_at = time.time()
        self._zero = time.perf_counter()
        self.id = f"{int(self.started_at * 1000):012x}{os.urandom(10).hex()}"
        self.words = words
        self.emit: EventSink = emit or tee()
        self.finishing = False
        self.wakers: set[Waker] = set()
        """Woken by `finish`."""

    def now(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._zero

    def finish(self) -> None:
        """Answer with what is there: open layers close as soon as they hold one proposal, later ones are skipped."""
        self.finishing = True
        for waker in self.wakers:
            waker.wake()


class Span:
    """One call in progress. Models report to it and make further calls through it.

    `role` and `model` are the purpose and the name of the model called, `request` is its request (`None` for a layer).
    `is_answer` says that its text is the run's answer, `committed` that part of that was already streamed, here or
    below, so the call cannot be repeated. `deadline` is when the caller stops waiting, in seconds since the run began,
    or `None`. A model that must not use caches sets `cache` before it makes calls.
    """

    def __init__(
        self,
        run: Run,
        parent: Span | None,
        spec: CallSpec,
        model: str,
        request: Request | None = None,
        *,
        deadline: float | None = None,
    ) -> None:
        self.run = run
        self.id = os.urandom(8).hex()
        self.role = spec.role
        self.model = model
        self.request = request
        self.is_answer: bool = spec.is_answer and (parent is None or parent.is_answer)
        self.committed = False
        self.cache: CacheUse = spec.cache
        self._parent = parent
        self._listener = spec.listener
        self._filter = spec.text_filter
        self._streamed = run.words == "all" or (run.words == "answer" and self.is_answer)
        self.deadline = deadline
        if parent:
            if parent.cache == "refresh" or (parent.cache == "private" and spec.cache == "shared"):
                self.cache = parent.cache
            if self.is_answer and self._filter is None:
                self._filter = parent._filter
            if parent.deadline is not None and (deadline is None or parent.deadline < deadline):
                self.deadline = parent.deadline
        self._spent: list[Usage] = []
        run.emit(
            SpanStart(
                run.id,
                self.id,
                run.now(),
                spec.role,
                model,
                parent.id if parent else None,
                spec.layer,
                spec.index,
                self.is_answer,
                request,
                started_at=None if parent else run.started_at,
                version=None if parent else VERSION,
            )
        )

    @property
    def streaming(self) -> bool:
        """Whether the text is wanted as it comes; otherwise the whole answer at the end is enough."""
        return self._streamed or self._listener is not None

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, or `None` when there is none."""
        return None if self.deadline is None else self.deadline - self.run.now()

    @property
    def headers(self) -> Mapping[str, str]:
        """HTTP headers to send with this call, from the run's event sink."""
        return headers(self.run.emit, self.id)

    def text(self, text: str, kind: TextKind = "text") -> None:
        """Emit a piece of text."""
        if self._filter and kind == "text":
            text = self._filter(text)
        if text and self._listener and kind == "text":
            self._listener(text)
        if text and (self._streamed or not self._listener):
            span: Span | None = self if self.is_answer and self._streamed else None
            while span and not span.committed:
                span.committed, span = True, span._parent
            self.run.emit(TextDelta(self.id, self.run.now(), text, kind, self.is_answer))

    def note(self, note: notes.NoteData) -> None:
        """Emit a note about the call. The kinds are the classes of `moa.notes`."""
        if isinstance(note, notes.Retry) and self._listener:
            self._listener(None)
        if isinstance(note, notes.Retry) and self._filter:
            self._filter(None)
        self.run.emit(Note(self.id, self.run.now(), note))

    def record_sent(self, request: Request) -> None:
        """Emit the messages that are really sent, if they differ from the request that the call began with.

        Every single model calls this before it answers, so that the events never show another conversation than the
        model got.
        """
        if request is not self.request and request != self.request:
            self.note(notes.RequestRewritten(tuple(_as_json(message) for message in request.messages)))

    async def call(self, model: Model, request: Request, spec: CallSpec) -> Response:
        """Call a model. Every call goes through here."""
        model, request = unwrap_defaults(model, request)
        child = Span(self.run, self, spec, model.name, request)
        if child._filter:
            child._filter(None)  # the text of a model that answered in its place before is void
        return await _answered(model, request, child, self)

    @contextmanager
    def section(
        self, role: Role, name: str, *, layer: int | None = None, deadline: float | None = None
    ) -> Iterator[Span]:
        """Open a span that groups calls, such as a layer. `deadline` is in seconds since the run began."""
        child = Span(self.run, self, CallSpec(role, layer), name, deadline=deadline)
        try:
            yield child
        except BaseException as error:
            child._end(error=_reason(error))
            raise
        else:
            child._end(usage=child.spent)
        finally:
            self._spent.extend(child._spent)

    def spend(self, usage: Usage) -> None:
        """Count usage of this span besides that of the calls below it."""
        self._spent.append(usage)

    @property
    def spent(self) -> Usage:
        """The usage of this span and the calls below it so far."""
        return Usage.total(self._spent)

    def _end(
        self,
        error: str | None = None,
        text: str | None = None,
        finish_reason: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.run.emit(SpanEnd(self.id, self.run.now(), error, text, finish_reason, usage))


async def _answered(model: Model, request: Request, span: Span, parent: Span | None) -> Response:
    """Make one call and end its span. Only leaves have tokens of their own; the usage of a span above is their sum."""
    try:
        response = await model.generate(request, span)
        if not response.text.strip() and not response.tool_calls:
            message = f"{model.name}: the reply is empty; retry, or choose another model"
            raise EmptyReply(message, model=model.name)
    except BaseException as error:
        if parent:
            parent._spent.extend(span._spent)
        span._end(error=_reason(error), usage=span.spent if span._spent else None)
        raise
    usage = span.spent if span._spent else response.usage
    if parent:
        parent._spent.append(usage)
    if usage is not response.usage:
        response = replace(response, usage=usage)
    span._end(text=response.text, finish_reason=response.finish_reason, usage=usage)
    return response


def _as_json(message: Message) -> dict[str, Any]:
    content = message.content if isinstance(message.content, str) else [dict(part) for part in message.content]
    return {"role": message.role, "content": content}


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return str(error) or "cancelled"
    return str(error) or type(error).__name__


async def answer(model: Model, request: Request, run: Run) -> Response:
    """Call a model at the root of a new run and return its response."""
    model, request = unwrap_defaults(model, request)
    return await _answered(model, request, Span(run, None, CallSpec("root", is_answer=True), model.name, request), None)


async def generate(
    model: Model,
    request: Request,
    emit: EventSink | None = None,
    words: StreamMode = "none",
    *,
    budget: Budget | None = None,
) -> Response:
    """Call a model and return its response. `emit` receives every event, and text as far as `words` says.

    `budget` is the most that a mixture may use for it.
    """
    return await answer(model, request, Run(emit, words, budget))
