"""Any endpoint that speaks OpenAI's chat completions, over HTTP."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson

from .. import prices
from ..errors import BadReply, CutStream, MissingKey, ModelError
from ..model import Span
from ..sse import Decoder
from ..types import Request, Response
from ..wire import Draft, error_from_json, request_to_json, response_from_json, without
from .connections import connections


@dataclass(frozen=True)
class OpenAI:
    """One model behind an OpenAI-compatible endpoint.

    `base_url` usually ends in `/v1`. The key is read from the environment variable `api_key_env` at each call and
    stands nowhere else. `timeout` is how long the upstream may say nothing, in seconds. `price`, else the public price
    of `priced_as` (a provider of the genai-prices tables), gives the cost. `unsupported` are options the endpoint
    refuses; `renamed` maps our option names to the endpoint's own.
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

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.model)

    def check(self) -> None:
        """Raise `MissingKey` if the provider's key is not in the environment."""
        if self.api_key_env and not os.environ.get(self.api_key_env, "").strip():
            raise MissingKey(f"{self.name}: set its API key: export {self.api_key_env}=...", model=self.name)

    async def generate(self, request: Request, span: Span) -> Response:
        self.check()
        if self.priced_as and not self.price:
            prices.prepare()
        try:
            response = await self._ask(request, span)
        except TimeoutError as error:
            raise ModelError(f"{self.name}: no word for {self.timeout:g} s", model=self.name, retryable=True) from error
        except aiohttp.ClientConnectorError as error:
            raise ModelError(
                f"{self.name}: cannot reach {self.base_url} ({error.os_error.strerror or error.os_error}); "
                "is the server running, and is base_url right?",
                model=self.name,
                retryable=True,
            ) from error
        except (aiohttp.ClientPayloadError, ConnectionError) as error:
            raise CutStream(f"{self.name}: the connection was cut", model=self.name, retryable=True) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise ModelError(f"{self.name}: {self._clean(error)}", model=self.name) from error
        usage = response.usage
        return replace(response, usage=replace(usage, cost=prices.cost(usage, self.model, self.priced_as, self.price)))

    async def _ask(self, request: Request, span: Span) -> Response:
        span.sends(request)
        body, unsent = without(request_to_json(request, self.model), self.unsupported)
        if unsent:
            span.note("unsent", options=unsent)
        body = {self.renamed.get(key, key): value for key, value in body.items()}
        if span.watched:
            body["stream"] = True
            if "stream_options" not in self.unsupported:
                body["stream_options"] = {"include_usage": True}
        session = await connections()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self.timeout)
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        async with session.post(
            url, data=orjson.dumps(body), headers=self._headers(), timeout=timeout, allow_redirects=False
        ) as reply:
            if reply.status != 200:
                raise self._refusal(reply.status, reply.headers, await reply.read())
            if span.watched and reply.content_type == "text/event-stream":
                return await self._stream(reply, request, span)
            response = response_from_json(self._json(await reply.read()), request, self.name)
            if span.watched:
                span.text(response.text)
            return response

    async def _stream(self, reply: aiohttp.ClientResponse, request: Request, span: Span) -> Response:
        decoder, draft = Decoder(), Draft(self.name)
        async for packet in reply.content.iter_any():
            for data in decoder.feed(packet):
                if data == b"[DONE]":
                    return draft.close(True, request)
                draft.add(self._json(data), span)
        for data in decoder.close():
            if data == b"[DONE]":
                return draft.close(True, request)
            draft.add(self._json(data), span)
        return draft.close(False, request)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", **self.headers}
        if self.api_key_env:
            headers["Authorization"] = f"Bearer {os.environ[self.api_key_env].strip()}"
        return headers

    def _json(self, data: bytes) -> Any:
        try:
            return orjson.loads(data)
        except ValueError as error:
            start = " ".join(data[:80].decode(errors="replace").split())
            hint = f"; is {self.base_url} the right base_url? It usually ends in /v1" if start.startswith("<") else ""
            raise BadReply(
                f"{self.name}: replied with something that is not JSON: {start!r}{hint}", model=self.name
            ) from error

    def _refusal(self, status: int, headers: Mapping[str, str], data: bytes) -> ModelError:
        try:
            told = orjson.loads(data)
        except ValueError:
            told = " ".join(data[:200].decode(errors="replace").split()) or "no reason given"
        error = error_from_json(told, f"{self.name}: HTTP {status}", status)
        advice = {
            401: f"; check the key in {self.api_key_env}" if self.api_key_env else "; name its key with api_key_env",
            403: f"; may the key in {self.api_key_env} use this model?" if self.api_key_env else "",
            404: f"; is {self.model!r} a model of {self.base_url}, and is base_url right?",
        }.get(status, "")
        error.args = (self._clean(error) + advice,)
        error.model = self.name
        error.retry_after = _seconds(headers.get("Retry-After"))
        return error

    def _clean(self, error: Exception) -> str:
        """The words of an error without the key, which some providers repeat."""
        key = os.environ.get(self.api_key_env or "", "").strip()
        words = str(error) or type(error).__name__
        return words.replace(key, "[key]") if key else words


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After is a number of seconds or a date (RFC 9110, section 10.2.3)."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
