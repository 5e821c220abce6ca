"""What a question is likely to take, by the runs that the caller may see."""

from __future__ import annotations

from dataclasses import replace

from ...estimates.likely import Quote, WithEstimate, quote
from ..runs.stored_runs import StoredRuns
from ..schemas import NUMBER, TEXT, WHOLE, YES, or_null, rows, table, titled
from ..service import RunRequest

ESTIMATE = titled(
    "Quote",
    table(
        {
            "model": TEXT,
            **dict.fromkeys(("calls", "input_tokens", "output_tokens", "runs"), WHOLE),
            **dict.fromkeys(("cost", "seconds", "at_most"), or_null(NUMBER)),
            "unknown": rows(TEXT),
            "known": YES,
        }
    ),
)


async def of(asked: RunRequest, past: StoredRuns) -> Quote:
    """The quote of a request. Nobody is asked."""
    return quote(asked.model, asked.request, await past.figures())


async def with_estimate(asked: RunRequest, past: StoredRuns) -> RunRequest:
    """The request, whose run says what was quoted for it, if anything is known of that."""
    quoted = await of(asked, past)
    return replace(asked, model=WithEstimate(asked.model, quoted)) if quoted.known else asked
