"""A circuit breaker: after consecutive failures a model is not called for a while, then tried once."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..errors import ModelError
from ..model import WrapperModel
from ..span import Span
from ..types import Request, Response


@dataclass(eq=False)
class BreakerState:
    """Opens after `failures` in a row, for `cooldown` seconds. Then one call is admitted, and its outcome decides.

    A cancelled call decides nothing. Calls that overlapped and failed count as one failure, so that many samples of one
    question do not end each other's retries. `state` is "closed" (calls are admitted), "open" or "half-open", `reason`
    the last failure.
    """

    failures: int = 5
    cooldown: float = 30.0
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
        """Seconds until a call is admitted again."""
        return 0.0 if self._opened is None else max(0.0, self._opened + self.cooldown - time.monotonic())

    def admit(self) -> bool:
        """Return whether a call may be made now."""
        if self._opened is None:
            return True
        if self._probing or self.remaining > 0:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        self._count, self._opened, self._probing = 0, None, False

    def failed(self, reason: str, began: float) -> None:
        """Count a failed call that began at this time (of `time.monotonic`)."""
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
    """A model behind a circuit breaker. Only retryable failures count: a refused prompt does not."""

    breaker: BreakerState

    async def generate(self, request: Request, span: Span) -> Response:
        if not self.breaker.admit():
            raise ModelError(
                f"{self.name}: circuit open after {self.breaker.failures} consecutive failures; next attempt in "
                f"{self.breaker.remaining:.0f} s: {self.breaker.reason.removeprefix(f'{self.name}: ')}",
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
