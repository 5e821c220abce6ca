"""What a call is likely to use, before it is made: its prompt is measured, its answer reckoned with.

A model may say it itself (its method `expected`), as those do that are made of others; what tokens cost is asked of its
method `cost`.
"""

from __future__ import annotations

from dataclasses import replace

from ..model import Model, WrapperModel, info, unwrap_defaults
from ..types import Request, Usage

ASSUMED = 1000
"""Tokens of an answer without `max_tokens`."""

INSTRUCTION = 300
"""Tokens of the instruction that references come with."""


def expected(model: Model, request: Request, read: int = 0) -> Usage:
    """What a call is likely to use. `read` are tokens of references that it reads besides."""
    model, request = unwrap_defaults(model, request)
    if (own := getattr(model, "expected", None)) is not None:
        told: Usage = own(request, read)
        return told
    if isinstance(model, WrapperModel):
        return expected(model.inner, request, read)
    asked = request.size
    usage = Usage(asked + read, request.max_tokens or ASSUMED)
    return replace(usage, cost=info(model).cost(usage))
