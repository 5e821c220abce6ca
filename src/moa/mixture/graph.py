"""The single models that a model is made of, and what holds of all of them together."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Model, WrapperModel, context_window
from ..wrappers.retry import Fallback
from .mixture import Mixture

UNKNOWN = 32_768
"""The context window told of a model when nothing is known of it, in tokens."""


def members(model: Model) -> Iterator[Model]:
    """The single models that a model is made of, as far as it is built of ours."""
    match model:
        case WrapperModel():
            yield from members(model.model)
        case Fallback():
            for spare in model.models:
                yield from members(spare)
        case Mixture():
            for layer in model.layers:
                for proposer in layer.proposers:
                    yield from members(proposer)
            for asked in model.aggregator.models:
                yield from members(asked)
            if model.agree and model.agree.judge:
                yield from members(model.agree.judge)
        case _:
            yield model


def smallest_window(model: Model) -> int:
    """How many tokens a conversation may have so that every member whose window is known can read it."""
    return min((window for member in members(model) if (window := context_window(member))), default=UNKNOWN)


def sees_images(model: Model) -> bool:
    """Whether some member is shown the images of a conversation."""
    return any(getattr(member, "images", False) for member in members(model))
