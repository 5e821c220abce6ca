"""A breaker in front of a model: after several failures in a row it is left alone for a while, then tried once."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..errors import ModelError
from ..model import WrapperModel
from ..span import Span
from ..types import Request, Response


@dataclass(eq=False)
class BreakerState:
    """Opens after `failures` in a row, for `rest` seconds; then one call is let through, and its end decides.

    A call that was cancelled decides nothing. Calls that were under way together and failed are one failure, so that
    many samples of one question do not end the retries of each other. `state` is "closed" (all is well), "open" or
    "half-open", `reason` what failed last.
    """

    failures: int = 5
    rest: float = 30.0
    reason: str = ""
    _count: int = 0
    _failed: float = 0.0
    _opened: float | None = None
    _probing: bool = False

    @property
    def state(self) -> str:
        if self._opened is None:
            return "closed"
        return "open" if self.remaining > 0 else "half-open"

    @property
    def remaining(self) -> float:
        """Seconds until a call is let through again."""
        return 0.0 if self._opened is None else max(0.0, self._opened + self.rest - time.monotonic())

    def admit(self) -> bool:
        """Whether a call may be made now."""
        if self._opened is None:
            return True
        if self._probing or self.remaining > 0:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        self._count, self._opened, self._probing = 0, None, False

    def failed(self, reason: str, began: float) -> None:
        """A call that began at this moment (of `time.monotonic`) failed."""
        self.reason = reason
        if began < self._failed:
            return
        self._failed = time.monotonic()
        self._count += 1
        if self._probing or self._count >= self.failures:
            self._opened, self._probing = self._failed, False

    def undecided(self) -> None:
        self._probing = False


@dataclass(frozen=True)
class CircuitBreaker(WrapperModel):
    """A model behind a breaker. Only failures that speak of the upstream count: a refused prompt does not."""

    breaker: BreakerState

    async def generate(self, request: Request, span: Span) -> Response:
        if not self.breaker.admit():
            raise ModelError(
                f"{self.name}: left alone for {self.breaker.remaining:.0f} s more, as it failed "
                f"{self.breaker.failures} times in a row: {self.breaker.reason.removeprefix(f'{self.name}: ')}",
                model=self.name,
            )
        began = time.monotonic()
        try:
            response = await self.inner.generate(request, span)
        except ModelError as error:
            if error.retryable:
                self.breaker.failed(str(error), began)
            else:
                self.breaker.undecided()
            raise
        except BaseException:
            self.breaker.undecided()
            raise
        self.breaker.succeeded()
        return response
