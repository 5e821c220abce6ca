"""The contract: a model turns a request into a response, and every call goes through one door, `Span.call`.

This file knows nothing of mixtures, of HTTP or of screens.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from .errors import EmptyReply
from .events import VERSION, Delta, Note, Role, SpanEnd, SpanStart, TextKind
from .sinks import EventSink as EventSink
from .sinks import headers, tee
from .types import Message, PrewarmResult, Request, Response, Usage
from .waker import Waker

if TYPE_CHECKING:
    from .budget import Budget

StreamMode = Literal["all", "answer", "none"]
"""Whose words somebody listens to while they are written. A backend streams only where somebody does."""


class Model(Protocol):
    """Anything that answers: one language model, a model around a model, or a whole mixture.

    A few optional attributes say more of it, see `identity`, `context_window`, `check`, `prefix_cache`, `machine`,
    `warm` and `reach`.
    """

    @property
    def name(self) -> str: ...

    async def generate(self, request: Request, span: Span) -> Response:
        """Answer the request. Raises `ModelError` when there is no answer; an error is never an answer."""
        ...


def identity(model: Model) -> str:
    """What decides the model's answers besides the request and its name (its attribute `identity`), such as where it
    runs and how it is asked there: models alike in both give the same answers. Unsaid, the name alone tells them apart.
    """
    told: str = getattr(model, "identity", "")
    return told


def context_window(model: Model) -> int | None:
    """How many tokens the model can read and write at once (its attribute `context_window`), or `None` if unknown."""
    window: int | None = getattr(model, "context_window", None)
    return window


TextListener = Callable[[str | None], None]
"""Takes the words of one call as they are written; `None` says that all so far are void."""

TextFilter = Callable[[str | None], str]
"""Takes the words of an answer as they are written, and gives those to be said now; `None` says that all so far are
void."""

PrefixCache = Literal["warm", "paid", "none"]
"""Whether a model keeps what it has read for the next prompt that begins alike, and may be asked to read ahead: "warm"
for nothing, "paid" for the price of the tokens."""


def prefix_cache(model: Model) -> PrefixCache:
    """The model's attribute `prefix_cache`; without one, nothing is read ahead by it."""
    told: PrefixCache = getattr(model, "prefix_cache", "none")
    return told


def machine(model: Model) -> str | None:
    """Where the model runs (its attribute `machine`): what runs at one place takes time from each other."""
    told: str | None = getattr(model, "machine", None)
    return told


async def warm(model: Model, request: Request) -> PrewarmResult | None:
    """Have the model read the beginning of a prompt ahead of its call (its method `warm`).

    `None` when it did not, as there was something better to do. Raises `ModelError` when it failed.
    """
    read = getattr(model, "warm", None)
    told: PrewarmResult | None = await read(request) if read else None
    return told


def check(model: Model) -> None:
    """Raise what stands in the way of any call to this model (its method `check`), such as a missing key."""
    ready = getattr(model, "check", None)
    if ready is not None:
        ready()


def reach(model: Model) -> None:
    """Have the model open the way to where it runs, in the background, for a call that is to come (its method `reach`).

    Nothing is asked of it; what goes wrong is for the call to find out.
    """
    opened = getattr(model, "reach", None)
    if opened is not None:
        opened()


@dataclass(frozen=True)
class WrapperModel:
    """A model around a model: what every such model passes on."""

    model: Model

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return identity(self.model)

    @property
    def context_window(self) -> int | None:
        return context_window(self.model)

    @property
    def prefix_cache(self) -> PrefixCache:
        return prefix_cache(self.model)

    @property
    def machine(self) -> str | None:
        return machine(self.model)

    def check(self) -> None:
        check(self.model)

    def reach(self) -> None:
        """Have the model open the way to where it runs."""
        reach(self.model)

    async def warm(self, request: Request) -> PrewarmResult | None:
        """Have the model read the beginning of a prompt ahead of its call."""
        return await warm(self.model, request)


@dataclass(frozen=True)
class WithDefaults(WrapperModel):
    """A model with its own defaults: an instruction (its role), sampling options, a seed.

    What the caller asks for is kept; what the caller left open is filled in here. The instruction goes after the
    caller's system message. With a `seed` of its own, sample n of a request with seed s is asked with seed s + n.
    """

    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def tune(self, request: Request) -> Request:
        """The request as this model is asked it."""
        tuned = replace(
            request,
            temperature=self.temperature if request.temperature is None else request.temperature,
            top_p=self.top_p if request.top_p is None else request.top_p,
            max_tokens=self.max_tokens if request.max_tokens is None else request.max_tokens,
            seed=request.seed if self.seed is None else self.seed + (request.seed or 0),
            stop=request.stop or self.stop,
            extra={**self.extra, **request.extra},
        )
        return tuned.instructed(self.system) if self.system else tuned

    async def generate(self, request: Request, span: Span) -> Response:
        return await self.model.generate(self.tune(request), span)


def unwrap_defaults(model: Model, request: Request) -> tuple[Model, Request]:
    """The model beneath its own defaults, and the request as it is asked it."""
    while isinstance(model, WithDefaults):
        request, model = model.tune(request), model.model
    return model, request


class Run:
    """One question being answered: its id, its clock, who listens, and the wish to come to an end."""

    def __init__(self, emit: EventSink | None = None, words: StreamMode = "none", budget: Budget | None = None) -> None:
        self.budget = budget
        self.started_at = time.time()
        self._zero = time.perf_counter()
        self.id = f"{int(self.started_at * 1000):012x}{os.urandom(10).hex()}"
        self.words = words
        self.emit: EventSink = emit or tee()
        self.finishing = False
        self.bells: set[Waker] = set()
        """What is rung when it is told to finish."""

    def now(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._zero

    def finish(self) -> None:
        """Answer with what is there: open layers close as soon as they hold one proposal, later ones are skipped."""
        self.finishing = True
        for bell in self.bells:
            bell.ring()


class Span:
    """One call in progress: it is told what happens, and it is the door to further calls.

    `role` and `model` say what the call is for and who is asked, `request` what (`None` for a layer), `answers` that
    its words are the run's answer, `deadline` when the caller stops waiting (seconds since the run began, or `None`),
    `spoke` that somebody has begun to read the answer in it, or in a call below it: that cannot be begun again.
    """

    def __init__(
        self,
        run: Run,
        parent: Span | None,
        role: Role,
        model: str,
        *,
        layer: int | None = None,
        index: int | None = None,
        answers: bool = False,
        deadline: float | None = None,
        request: Request | None = None,
        hear: TextListener | None = None,
        edit: TextFilter | None = None,
    ) -> None:
        self.run = run
        self.id = os.urandom(8).hex()
        self.role = role
        self.model = model
        self.request = request
        self.answers = answers
        self.spoke = False
        self._parent = parent
        self._hear = hear
        self._edit: TextFilter | None = edit or (parent._edit if parent and answers else None)
        self._told = run.words == "all" or (run.words == "answer" and answers)  # whether listeners want the words
        inherited = parent.deadline if parent else None
        self.deadline: float | None = min((d for d in (deadline, inherited) if d is not None), default=None)
        self._spent: list[Usage] = []
        root = parent is None
        run.emit(
            SpanStart(
                run.id,
                self.id,
                run.now(),
                role,
                model,
                parent.id if parent else None,
                layer,
                index,
                answers,
                request,
                started_at=run.started_at if root else None,
                version=VERSION if root else None,
            )
        )

    @property
    def watched(self) -> bool:
        """Whether anyone wants the words as they come; if not, the whole answer at the end is enough."""
        return self._told or self._hear is not None

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, or `None` when there is none."""
        return None if self.deadline is None else self.deadline - self.run.now()

    @property
    def headers(self) -> Mapping[str, str]:
        """What whoever listens to the run sends along with this call, as HTTP headers."""
        return headers(self.run.emit, self.id)

    def text(self, text: str, kind: TextKind = "text") -> None:
        """Say some words."""
        if self._edit and kind == "text":
            text = self._edit(text)
        if text and self._hear and kind == "text":
            self._hear(text)
        if text and (self._told or not self._hear):
            span: Span | None = self if self.answers and self._told else None
            while span and not span.spoke:
                span.spoke, span = True, span._parent
            self.run.emit(Delta(self.id, self.run.now(), text, kind, self.answers))

    def note(self, kind: str, **data: Any) -> None:
        """Say something about the call. See `Note` for the kinds."""
        if kind == "retry" and self._hear:
            self._hear(None)
        if kind == "retry" and self._edit:
            self._edit(None)
        self.run.emit(Note(self.id, self.run.now(), kind, data))

    def sends(self, request: Request) -> None:
        """Say what is really sent, where something on the way has changed the request that the call began with.

        A model that answers by itself says this before it does, so that the events never show another conversation
        than its model got.
        """
        if request is not self.request and request != self.request:
            self.note("sent", messages=[_told(message) for message in request.messages])

    async def call(
        self,
        model: Model,
        request: Request,
        *,
        role: Role,
        layer: int | None = None,
        index: int | None = None,
        answers: bool = False,
        hear: TextListener | None = None,
        edit: TextFilter | None = None,
    ) -> Response:
        """Call a model: the one door. Its words are part of the answer if `answers` is set here and all the way up.

        `hear` is told the words as they are written, whoever else listens to the run; `edit` decides which words of an
        answer are said, and when.
        """
        model, request = unwrap_defaults(model, request)
        child = self._child(role, model.name, layer, index, answers and self.answers, request, hear=hear, edit=edit)
        if child._edit:
            child._edit(None)  # what another model said in its place is void
        return await _spoken(model, request, child, self)

    @contextmanager
    def section(
        self, role: Role, name: str, *, layer: int | None = None, deadline: float | None = None
    ) -> Iterator[Span]:
        """A span that groups calls, such as a layer. `deadline` is in seconds since the run began."""
        child = self._child(role, name, layer, deadline=deadline)
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
        """Count what was used here besides the calls below."""
        self._spent.append(usage)

    @property
    def spent(self) -> Usage:
        """What the calls below this one have used so far."""
        return Usage.total(self._spent)

    def _child(
        self,
        role: Role,
        name: str,
        layer: int | None = None,
        index: int | None = None,
        answers: bool = False,
        request: Request | None = None,
        deadline: float | None = None,
        hear: TextListener | None = None,
        edit: TextFilter | None = None,
    ) -> Span:
        return Span(
            self.run,
            self,
            role,
            name,
            layer=layer,
            index=index,
            answers=answers,
            deadline=deadline,
            request=request,
            hear=hear,
            edit=edit,
        )

    def _end(
        self,
        error: str | None = None,
        text: str | None = None,
        finish_reason: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.run.emit(SpanEnd(self.id, self.run.now(), error, text, finish_reason, usage))


async def _spoken(model: Model, request: Request, span: Span, parent: Span | None) -> Response:
    """Run one call from its start, already said, to its end. Only leaves own tokens; above them it is the sum below."""
    try:
        response = await model.generate(request, span)
        if not response.text.strip() and not response.tool_calls:
            words = f"{model.name}: the reply is empty; ask again, or name another model"
            raise EmptyReply(words, model=model.name)  # nothing is not an answer
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


def _told(message: Message) -> dict[str, Any]:
    content = message.content if isinstance(message.content, str) else [dict(part) for part in message.content]
    return {"role": message.role, "content": content}


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return str(error) or "cancelled"
    return str(error) or type(error).__name__


async def answer(model: Model, request: Request, run: Run) -> Response:
    """Ask a model in a run that nobody has been asked in yet, and wait for its answer."""
    model, request = unwrap_defaults(model, request)
    return await _spoken(model, request, Span(run, None, "root", model.name, answers=True, request=request), None)


async def generate(
    model: Model,
    request: Request,
    emit: EventSink | None = None,
    words: StreamMode = "none",
    *,
    budget: Budget | None = None,
) -> Response:
    """Ask a model and wait for its answer. `emit` is told every event, and words as far as `words` says.

    `budget` is the most that a mixture may use for it.
    """
    return await answer(model, request, Run(emit, words, budget))
