"""Models behind OpenAI-compatible chat completions over HTTP."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from types import MappingProxyType
from typing import Any

import aiohttp
import orjson

from ... import notes
from ...costs import prices
from ...errors import BadReply, ContextOverflow, MissingKey, ModelError, RequestError
from ...model import ModelInfo, Prewarming
from ...span import Span
from ...types import PrewarmResult, Request, Response, Usage, without_images
from ...wire.chat_completions import RETRY, Draft, prewarm_from_json, request_to_json, response_from_json, without
from ...wire.sse import Decoder
from .errors import failure, page, refusal
from .idle_timeout import IdleTimeout
from .pacing import paced
from .pool import Way, connections, preconnect, proxy_of

CONNECT = aiohttp.ClientTimeout(total=None, connect=10)
"""The connection has a timeout of its own, shorter than that for data."""

PIECEMEAL = 2**20
"""Size of a request in bytes from which it is sent in pieces, so that other calls proceed meanwhile."""


@dataclass(frozen=True)
class OpenAI:
    """One model behind an OpenAI-compatible endpoint.

    `base_url` usually ends in `/v1`. The key is read from the environment variable `api_key_env` at each call and
    stored nowhere. `timeout` is the longest wait for data, in seconds. The cost follows from `price`, or else from the
    public price of `priced_as` (a provider of the genai-prices tables). `unsupported` are options the endpoint
    refuses; `renamed` maps our option names to the endpoint's own. Without `vision`, images
    are replaced by a placeholder. `prewarming` says whether it may be given prompts to read before their calls.
    """

    model: str
    base_url: str
    name: str = ""
    api_key_env: str | None = None
    timeout: float = 300.0
    context_window: int | None = None
    price: prices.Price | None = None
    priced_as: str | None = None
    unsupported: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    vision: bool = True
    prewarming: Prewarming = "off"

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.model)

    @cached_property
    def info(self) -> ModelInfo:
        """Its cache key is where it is called, and what becomes of a request on the way there."""
        way = (sorted(self.unsupported), dict(sorted(self.renamed.items())), dict(sorted(self.headers.items())))
        cache_key = orjson.dumps((self.base_url, self.model, *way, self.vision)).decode()
        return ModelInfo(cache_key, self.context_window, self.vision, self.base_url, self.prewarming, self.cost)

    def check(self) -> None:
        """Raise `MissingKey` if the provider's key is not in the environment."""
        if self.api_key_env and not self._key:
            raise MissingKey(f"{self.name}: set its API key: export {self.api_key_env}=...", model=self.name)

    def preconnect(self) -> None:
        """Open a connection in the background, unless there is an idle one."""
        if self._key or not self.api_key_env:
            preconnect(self.base_url)

    def cost(self, usage: Usage) -> float | None:
        """Return the cost of tokens in US dollars, `None` if unknown."""
        return prices.cost(usage, self.model, self.priced_as, self.price)

    async def generate(self, request: Request, span: Span) -> Response:
        self.check()
        self._check_window(request)
        if self.priced_as and not self.price:
            prices.prepare()
        with self._errors():
            return await self._ask(request, span)

    async def prewarm(self, request: Request) -> PrewarmResult:
        """Have the server read the beginning of a prompt into its prefix cache, by asking for one token."""
        self.check()
        body, _ = self._body(replace(request if self.vision else without_images(request), max_tokens=1))
        begun = time.perf_counter()
        with self._errors():
            async with self._posted(body) as (reply, _):
                result = prewarm_from_json(self._json(await reply.read()), request, self.name)
        seconds = time.perf_counter() - begun
        cached = 0 if result.read is None else result.tokens - result.read
        return replace(result, seconds=seconds, cost=self.cost(Usage(result.tokens, 1, cached_tokens=cached)))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of a call into a readable `ModelError` without the key."""
        try:
            yield
        except ModelError as error:
            raise error.with_message(self._without_key(str(error), 500)) from error.__cause__
        except (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError) as error:
            words, kind, retryable = failure(error, self.base_url, self.timeout)
            words = self._without_key(words, 500)
            raise kind(f"{self.name}: {words}", model=self.name, retryable=retryable) from error

    def _check_window(self, request: Request) -> None:
        """Raise `ContextOverflow` if the prompt is too long: some servers cut it silently."""
        if self.context_window is not None and request.size > self.context_window:
            raise ContextOverflow(
                f"{self.name}: the prompt is about {request.size} tokens and the context window holds "
                f"{self.context_window}; shorten it, or choose a model with a larger one",
                model=self.name,
                window=self.context_window,
            )

    async def _ask(self, request: Request, span: Span) -> Response:
        if not self.vision:
            request = without_images(request)
        span.record_sent(request)
        body, unsent = self._body(request)
        if unsent:
            span.note(notes.OptionsDropped(tuple(unsent)))
        if span.streaming:
            body["stream"] = True
            if "stream_options" not in self.unsupported:
                body["stream_options"] = {"include_usage": True}
        async with self._posted(body, span.headers) as (reply, idle):
            if reply.content_type == "text/event-stream":
                return await self._stream(reply, idle, request, span)
            response = response_from_json(self._json(await reply.read()), request, self.name, self.cost)
            if span.streaming:
                span.text(response.reasoning, "reasoning")
                span.text(response.text)
            return response

    def _body(self, request: Request) -> tuple[dict[str, Any], list[str]]:
        """Return the body of a call, and the options that were left out because the provider refuses them."""
        body, unsent = without(request_to_json(request, self.model), self.unsupported)
        return {self.renamed.get(key, key): value for key, value in body.items()}, unsent

    @asynccontextmanager
    async def _posted(
        self, body: Mapping[str, Any], more: Mapping[str, str] = MappingProxyType({})
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, IdleTimeout]]:
        """Send a call with these further headers. Raises `ModelError` for a refusal, and `TimeoutError`."""
        async with IdleTimeout(self.timeout) as idle, await self._post(self._bytes(body), more) as reply:
            idle.reset()
            if reply.status != 200:
                raise self._refusal(reply.status, reply.headers, await reply.read())
            yield reply, idle

    async def _post(self, data: bytes, more: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Send a call. If the server has just closed the kept connection, as llama.cpp does after every stream, send it
        over the next one."""
        proxy = proxy_of(self.base_url)
        session = await connections()
        while True:
            way = Way.taken()
            try:
                return await session.post(
                    f"{self.base_url.rstrip('/')}/chat/completions",
                    data=data if len(data) < PIECEMEAL else BytesIO(data),
                    headers=self._headers({**proxy.request, **more}),
                    timeout=CONNECT,
                    allow_redirects=False,
                    proxy=proxy.url,
                    proxy_headers=proxy.tunnel,
                )
            except aiohttp.ClientConnectorError:
                raise  # a new connection failed, perhaps before there was a socket
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                if not way.reused:
                    raise

    async def _stream(self, reply: aiohttp.ClientResponse, idle: IdleTimeout, request: Request, span: Span) -> Response:
        decoder, draft = Decoder(), Draft(self.name, self.cost)
        try:
            with paced(reply) as pace:
                while packet := await reply.content.readany():
                    idle.reset()
                    events = decoder.feed(packet)
                    if self._add(events, draft, span):
                        pace.hurry()
                        await _read_out(reply)
                        return draft.close(True, request)
                    if draft.has_text and not draft.finish_reason:
                        pace.count(len(packet), len(events))
                    else:
                        pace.hurry()
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError):
            pass  # the chunks so far show whether the answer is complete
        return draft.close(False, request)

    def _add(self, events: Iterable[bytes], draft: Draft, span: Span) -> bool:
        """Add the chunks of one packet and emit their text. Return whether it was the last packet."""
        try:
            for data in events:
                if data == b"[DONE]":
                    return True
                draft.add(self._json(data))
            return False
        finally:
            draft.emit(span)

    @property
    def _key(self) -> str:
        return os.environ.get(self.api_key_env or "", "").strip()

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        headers = {"Content-Type": "application/json", **self.headers, **more}
        if self.api_key_env:
            headers["Authorization"] = f"Bearer {self._key}"
        return headers

    def _bytes(self, body: Mapping[str, Any]) -> bytes:
        try:
            return orjson.dumps(body)
        except TypeError as error:
            raise RequestError(f"{self.name}: the request cannot be written as JSON: {error}") from error

    def _json(self, data: bytes) -> Any:
        try:
            return orjson.loads(data)
        except ValueError as error:
            hint = f"; is {self.base_url} the right base_url? It usually ends in /v1" if page(data) else RETRY
            shown = page(data) or repr(" ".join(data[:1000].decode(errors="replace").split()))
            shown = self._without_key(shown, 120)
            raise BadReply(f"{self.name}: the reply is not JSON but {shown}{hint}", model=self.name) from error

    def _refusal(self, status: int, headers: Mapping[str, str], data: bytes) -> ModelError:
        error, advice = refusal(self.name, status, headers, data, self.model, self.base_url, self.api_key_env)
        message = self._without_key(str(error), 300)
        return error.with_message(message.rstrip(".") + advice if advice else message)

    def _without_key(self, words: str, most: int) -> str:
        """Return a text from outside, shortened, and without the key, which some providers repeat."""
        if len(self._key) >= 8:  # shorter ones are no secrets, and may be ordinary words
            words = words.replace(self._key, "[key]")
        return words if len(words) <= most else f"{words[: most - 1]}…"


async def _read_out(reply: aiohttp.ClientResponse) -> None:
    """Read the rest after [DONE], so that the connection can be reused, but do not wait for it."""
    if reply.content.at_eof():
        return
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(0.05):
            await reply.content.read()
