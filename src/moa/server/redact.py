"""Where a provider is, is nobody's business but that of whoever the server belongs to: no error says it to a client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import ModelError
from ..model import WrapperModel, prewarm
from ..span import Span
from ..types import PrewarmResult, Request, Response

UNTOLD = "[address]"
"""What stands in an error in its place."""


@dataclass(frozen=True)
class Redacted(WrapperModel):
    """A model at an address, a base URL. `owner` says whether the caller may know it."""

    address: str
    owner: Callable[[], bool]

    async def generate(self, request: Request, span: Span) -> Response:
        with self._untold():
            return await self.inner.generate(request, span)

    async def prewarm(self, request: Request) -> PrewarmResult | None:
        """Have the model read the beginning of a prompt ahead of its call."""
        with self._untold():
            return await prewarm(self.inner, request)

    @contextmanager
    def _untold(self) -> Iterator[None]:
        try:
            yield
        except ModelError as error:
            if self.owner():
                raise
            raise error.with_message(self._without_address(str(error))) from error.__cause__

    def _without_address(self, words: str) -> str:
        host = urlsplit(self.address).hostname or ""
        words = words.replace(self.address, UNTOLD)
        return words.replace(host, UNTOLD) if "." in host else words  # else it may be a word, such as a model's maker
