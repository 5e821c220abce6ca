"""Caches responses, and makes concurrent identical calls once."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from .. import notes
from ..errors import RequestError
from ..model import WrapperModel, info, unwrap_defaults
from ..span import Span
from ..types import Request, Response, Usage

When = Literal["seeded", "all"]
"""Which calls are cached: reproducible ones, with a seed or temperature 0, or all."""


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A response and the seconds it took."""

    response: Response
    seconds: float


Outcome = CachedAnswer | Literal["failed", "left"]
"""How a call ended: answered, failed, or cancelled by its caller."""


class Cache:
    """Responses by key. This base class stores none: it only shares calls in progress. See `MemoryCache`.

    Any number of models, threads and event loops can share a cache.
    """

    def __init__(self, when: When = "all") -> None:
        self.when = when
        self._flights: dict[str, Future[Outcome]] = {}
        self._lock = threading.Lock()

    def wants(self, request: Request) -> bool:
        """Return whether the response to this request is cached."""
        return self.when == "all" or request.seed is not None or request.temperature == 0

    def find(self, key: str) -> CachedAnswer | None:
        """Return the response of this key. It is quick and raises nothing."""
        return None

    def keep(self, key: str, given: CachedAnswer) -> Future[None]:
        """Store a response. The future is done when it is safe, or cannot be stored. Raises nothing."""
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def join(self, key: str) -> tuple[Future[Outcome], bool]:
        """Return the call of this key in progress, and whether the caller has to make it and then `complete` it."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Future()
            return flight, True

    def complete(self, key: str, outcome: Outcome) -> None:
        """Give the outcome of a call to all who wait for it."""
        with self._lock:
            flight = self._flights.pop(key)
        flight.set_result(outcome)


class MemoryCache(Cache):
    """The latest `size` responses, in memory."""

    def __init__(self, size: int = 1024, when: When = "all") -> None:
        super().__init__(when)
        self._size = size
        self._known: OrderedDict[str, CachedAnswer] = OrderedDict()

    def find(self, key: str) -> CachedAnswer | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def keep(self, key: str, given: CachedAnswer) -> Future[None]:
        with self._lock:
            self._known[key] = given
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        return super().keep(key, given)


@dataclass(frozen=True)
class Cached(WrapperModel):
    """A model with a cache, in memory by default. The same request, with the same seed, gets the same response at no
    cost. Concurrent identical requests make one call.

    With `always`, every call is cached, whatever the cache wants; errors never are. The key has the model's name and
    its `ModelInfo.cache_key`, so models can share responses, and responses outlive models.
    """

    cache: Cache = field(default_factory=MemoryCache, compare=False, repr=False)
    always: bool = False

    async def generate(self, request: Request, span: Span) -> Response:
        model, asked = unwrap_defaults(self.inner, request)
        if span.cache == "refresh" or not (self.always or self.cache.wants(asked)):
            return await self.inner.generate(request, span)
        key = fingerprint(asked, self.name, info(model).cache_key)
        while span.cache != "private":
            flight, leads = self.cache.join(key)
            if leads:
                return await self._lead(key, request, span)
            outcome = await asyncio.shield(asyncio.wrap_future(flight))
            if isinstance(outcome, CachedAnswer):
                return _again(outcome, span)
            if outcome == "failed":
                break  # this call may succeed, and the waiting calls should not be made one after another
        if given := self.cache.find(key):
            return _again(given, span)
        given = await self._ask(request, span)
        await _done(self.cache.keep(key, given))
        return given.response

    async def _lead(self, key: str, request: Request, span: Span) -> Response:
        """Make a call for all who wait for it, unless its response is cached."""
        try:
            known = self.cache.find(key)
            given = known or await self._ask(request, span)
        except BaseException as error:
            self.cache.complete(key, "failed" if isinstance(error, Exception) else "left")
            raise
        if known:
            self.cache.complete(key, known)
            return _again(known, span)
        kept = self.cache.keep(key, given)
        kept.add_done_callback(lambda _: self.cache.complete(key, given))  # also if this caller is cancelled meanwhile
        await _done(kept)
        return given.response

    async def _ask(self, request: Request, span: Span) -> CachedAnswer:
        begun = time.perf_counter()
        response = await self.inner.generate(request, span)
        return CachedAnswer(response, time.perf_counter() - begun)


def fingerprint(request: Request, *who: str) -> str:
    """Return a hash of everything that decides the response of a model."""
    import orjson

    fields: dict[str, Any] = asdict(request)
    for option in ("temperature", "top_p"):
        if fields[option] is not None:
            fields[option] = float(fields[option])  # 1 and 1.0 are the same
    try:
        return hashlib.sha256(orjson.dumps((*who, fields), option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError as error:
        raise RequestError(f"the request cannot be written as JSON: {error}") from error


def _again(given: CachedAnswer, span: Span) -> Response:
    response, usage = given.response, given.response.usage
    span.note(notes.Cached(usage.input_tokens, usage.output_tokens, usage.cost, round(given.seconds, 3)))
    if span.streaming:
        span.text(response.reasoning, "reasoning")
        span.text(response.text)
    return replace(response, usage=Usage(cost=0.0))


async def _done(kept: Future[None]) -> None:
    if not kept.done():
        await asyncio.shield(asyncio.wrap_future(kept))
