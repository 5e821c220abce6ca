"""Strips provider addresses from error messages before they reach clients other than the owner of the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import ModelError
from ..model import WrapperModel, prewarm
from ..span import Span
from ..types import PrewarmResult, Request, Response

PLACEHOLDER = "[address]"
"""Stands in an error message for the address."""


@dataclass(frozen=True)
class Redacted(WrapperModel):
    """A model at an address, a base URL. `owner` returns whether the caller may see it."""

    address: str
    owner: Callable[[], bool]

    async def generate(self, request: Request, span: Span) -> Response:
        with self._redacted():
            return await self.inner.generate(request, span)

    async def prewarm(self, request: Request) -> PrewarmResult | None:
        """Prewarm the model's prefix cache."""
        with self._redacted():
            return await prewarm(self.inner, request)

    @contextmanager
    def _redacted(self) -> Iterator[None]:
        try:
            yield
        except ModelError as error:
            if self.owner():
                raise
            raise error.with_message(self._without_address(str(error))) from error.__cause__

    def _without_address(self, message: str) -> str:
        host = urlsplit(self.address).hostname or ""
        message = message.replace(self.address, PLACEHOLDER)
        return message.replace(host, PLACEHOLDER) if "." in host else message  # a host without a dot may be any word
