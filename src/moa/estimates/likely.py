"""Estimates of what a question will take, from stored runs: tokens, US dollars, seconds.

The length of an answer, and of the prompt beyond the question, follow from calls of the same model in the same mixture,
or else from the answers before. If the mixture itself has run before, the estimate is scaled to what its runs really
took, so that early exits and retries are included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from .. import notes
from ..costs.forecast import Call, Forecast, assumed, forecast
from ..model import Model, WrapperModel, info
from ..span import Span
from ..trace.tree import Trace
from ..types import Request, Response, Usage

if TYPE_CHECKING:
    from ..json_types import EstimateJSON
    from ..store.stats import Figures


@dataclass(frozen=True, slots=True)
class Quote:
    """What a question to a model or mixture will probably take.

    `cost` is in US dollars, `None` if a price is unknown. `seconds` is the median of past durations, `at_most` their
    95th percentile; both are `None` if unknown. `runs` counts the past runs, `unknown` names the models without a
    stored call, of which the answers are assumed.
    """

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    seconds: float | None
    at_most: float | None
    runs: int
    unknown: tuple[str, ...] = ()
    known: bool = True
    """Whether it rests on stored calls, and not on assumptions alone."""

    def as_json(self) -> EstimateJSON:
        return {
            "model": self.model,
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost,
            "seconds": self.seconds,
            "at_most": self.at_most,
            "runs": self.runs,
            "unknown": list(self.unknown),
            "known": self.known,
        }


def quote(model: Model, request: Request, figures: Sequence[Figures]) -> Quote:
    """The quote of a request to a model. `figures` are those of the stored runs (`Store.figures()`)."""
    past = _Past(figures)
    whole = past.of(model.name, "root", model.name)
    likely = forecast(model, request, partial(_call, past))
    runs = whole.counts.made if whole else 0
    if whole:
        likely = _corrected(likely, model, request, whole, past)
    spread = whole.seconds if whole else None
    return Quote(
        model.name,
        likely.calls,
        likely.usage.input_tokens,
        likely.usage.output_tokens,
        likely.usage.cost,
        spread.p50 if spread else likely.seconds,
        spread.p95 if spread else None,
        runs,
        tuple(dict.fromkeys(likely.unknown)),
        len(likely.unknown) < likely.calls,
    )


@dataclass(frozen=True)
class WithEstimate(WrapperModel):
    """A model whose run records its estimate."""

    quote: Quote

    async def generate(self, request: Request, span: Span) -> Response:
        span.note(notes.Estimated(**asdict(self.quote)))
        return await self.inner.generate(request, span)


def missed(trace: Trace) -> dict[str, float] | None:
    """Return the relative error of a run's estimate (0.1: it took a tenth more) of `tokens`, `cost` and `seconds`.

    Unknown values are left out. `None` if there was no estimate, or the run is not over.
    """
    root = trace.root
    estimate = next(iter(root.notes_of(notes.Estimated)), None) if root else None
    if estimate is None or root is None or root.usage is None:
        return None
    took = {
        "tokens": (estimate.input_tokens + estimate.output_tokens, root.usage.input_tokens + root.usage.output_tokens),
        "cost": (estimate.cost, root.usage.cost),
        "seconds": (estimate.seconds, trace.time),
    }
    return {name: was / quoted - 1 for name, (quoted, was) in took.items() if quoted and was is not None}


class _Past:
    """Statistics of past calls, by mixture, role and model."""

    def __init__(self, figures: Sequence[Figures]) -> None:
        self._known = {(one.mixture, one.role, one.model): one for one in figures if one.counts.made}

    def of(self, mixture: str, role: str, model: str) -> Figures | None:
        return self._known.get((mixture, role, model))

    def read(self, mixture: str, role: str, model: str, question: int) -> int:
        """Return the expected length of a prompt, from how much longer than their questions earlier ones were, or 0."""
        whole, own = self.of(mixture, "root", mixture), self.of(mixture, role, model)
        if whole is None or own is None:
            return 0
        return max(
            0,
            round(
                question + own.counts.request_tokens / own.counts.made - whole.counts.request_tokens / whole.counts.made
            ),
        )

    def nearest(self, mixture: str, role: str, model: str) -> Figures | None:
        """Return these statistics, or else those of the same role elsewhere, or of any role; the most called first."""
        own = self.of(mixture, role, model)
        others = sorted(
            (one for one in self._known.values() if one.model == model),
            key=lambda one: (one.role == role, one.counts.made),
        )
        return own or (others[-1] if others else None)


def _call(past: _Past, call: Call) -> Forecast:
    """Return what a single model will use, from its stored calls where there are any."""
    name = call.model.name
    read = past.read(call.mixture, call.role, name, call.asked) or call.request.size + call.references
    known = past.nearest(call.mixture, call.role, name)
    if known is None:
        without = assumed(call)
        usage = replace(without.usage, input_tokens=read)
        return replace(without, usage=replace(usage, cost=info(call.model).cost(usage)), unknown=(name,))
    counts = known.counts
    written = round(counts.output_tokens / counts.made)
    usage = Usage(
        round(read * counts.input_tokens / counts.request_tokens) if counts.request_tokens else read,
        min(written, call.request.max_tokens or written),
    )
    usage = replace(usage, cost=info(call.model).cost(usage))
    return Forecast(1, usage, usage.output_tokens, known.seconds.p50 if known.seconds else None)


def _corrected(likely: Forecast, model: Model, request: Request, whole: Figures, past: _Past) -> Forecast:
    """Return the forecast scaled by how much more or less than forecast its past runs took."""
    counts = whole.counts
    longer = round(counts.request_tokens / counts.made) - request.size
    usual = forecast(model, request, partial(_call, past), longer).usage

    def factor(was: float | None, reckoned: float | None) -> float:
        return was / counts.made / reckoned if was and reckoned else 1.0

    usage = likely.usage
    corrected = Usage(
        round(usage.input_tokens * factor(counts.input_tokens, usual.input_tokens)),
        round(usage.output_tokens * factor(counts.output_tokens, usual.output_tokens)),
        None if usage.cost is None else usage.cost * factor(whole.cost, usual.cost),
    )
    return replace(likely, usage=corrected)
