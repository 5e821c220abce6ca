"""Estimates of what a run is likely to take, from the runs that the caller may see."""

from __future__ import annotations

from dataclasses import replace

from ...estimates.likely import Quote, WithEstimate, quote
from ..runs.stored_runs import StoredRuns
from ..service import RunRequest


async def estimate(run: RunRequest, stored: StoredRuns) -> Quote:
    """Return the estimate of a run. No model is called."""
    return quote(run.model, run.request, await stored.figures())


async def with_estimate(run: RunRequest, stored: StoredRuns) -> RunRequest:
    """Return the run with a note of its estimate, if past runs allow one."""
    likely = await estimate(run, stored)
    return replace(run, model=WithEstimate(run.model, likely)) if likely.known else run
