"""Mixtures of the models of one upstream, `lab`, and a conversation to send them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import moa
from helpers.upstream import Upstream
from moa import Layer, Message, Mixture, Model, Request, Synthesize
from moa.models.openai.model import OpenAI

HISTORY = (
    Message("system", "Answer as a pirate."),
    Message("user", "Which colour is the sky?"),
    Message("assistant", "Blue, arr."),
    Message("user", "And the sea?"),
)


QUESTION = Request(HISTORY)


def over(upstream: Upstream, *names: str) -> list[Model]:
    return [OpenAI(name, upstream.url, f"lab:{name}") for name in names]


def mixed(upstream: Upstream, *layers: Sequence[str], judge: str = "judge") -> Mixture:
    return Mixture([Layer(over(upstream, *names)) for names in layers], Synthesize(over(upstream, judge)[0]), "panel")


def configured(text: str, upstream: Upstream) -> Model:
    """Return a mixture from a moa.toml with the upstream as provider `lab`."""
    provider = f'[providers.lab]\nbase_url = "{upstream.url}"\nattempts = 1\n'
    path = Path("moa.toml")
    path.write_text(provider + text, "utf-8")
    return moa.get_model("moa:panel", path)
