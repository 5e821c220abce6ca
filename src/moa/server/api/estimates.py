"""What a question is likely to take, by the runs that the caller may see."""

from __future__ import annotations

from dataclasses import replace

from ...estimates.likely import Quote, WithEstimate, quote
from ..runs.stored_runs import StoredRuns
from ..service import RunRequest


async def of(asked: RunRequest, past: StoredRuns) -> Quote:
    """The quote of a request. Nobody is asked."""
    return quote(asked.model, asked.request, await past.figures())


async def with_estimate(asked: RunRequest, past: StoredRuns) -> RunRequest:
    """The request, whose run says what was quoted for it, if anything is known of that."""
    quoted = await of(asked, past)
    return replace(asked, model=WithEstimate(asked.model, quoted)) if quoted.known else asked
