"""Mixture of agents: several language models that answer as one."""

from .aggregators import Aggregator, Pick, Synthesize, Vote
from .agreement import Agreement
from .api import ask, get_model
from .budget import Budget
from .cached import Cached, Memory
from .errors import (
    BadReply,
    ConfigError,
    ContextOverflow,
    CutStream,
    LayerError,
    Lost,
    MissingKey,
    MoaError,
    ModelError,
    RequestError,
    StoreError,
)
from .events import Delta, Event, Note, SpanEnd, SpanStart
from .guard import NeverWorse
from .layer import Layer
from .middleware import Fallback, Retried
from .mixture import Mixture
from .model import Model, Run, Span, Tuned, generate
from .models.scripted import Scripted
from .patience import Patience
from .prompts import Prompt, aggregate_and_synthesize
from .staircase import Staircase
from .store.calls import Calls
from .store.store import Store
from .streaming import Events, stream
from .trace import Node, Trace
from .turns import Limited, Limiter
from .types import Message, Request, Response, Usage

__all__ = [
    "Aggregator",
    "Agreement",
    "BadReply",
    "Budget",
    "Cached",
    "Calls",
    "ConfigError",
    "ContextOverflow",
    "CutStream",
    "Delta",
    "Event",
    "Events",
    "Fallback",
    "Layer",
    "LayerError",
    "Limited",
    "Limiter",
    "Lost",
    "Memory",
    "Message",
    "MissingKey",
    "Mixture",
    "MoaError",
    "Model",
    "ModelError",
    "NeverWorse",
    "Node",
    "Note",
    "Patience",
    "Pick",
    "Prompt",
    "Request",
    "RequestError",
    "Response",
    "Retried",
    "Run",
    "Scripted",
    "Span",
    "SpanEnd",
    "SpanStart",
    "Staircase",
    "Store",
    "StoreError",
    "Synthesize",
    "Trace",
    "Tuned",
    "Usage",
    "Vote",
    "aggregate_and_synthesize",
    "ask",
    "generate",
    "get_model",
    "stream",
]
