"""Mixture of agents: several language models that answer as one."""

from typing import TYPE_CHECKING

from .api import ask, ask_many, get_model
from .budget import Budget
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
from .events import Event, Note, SpanEnd, SpanStart, TextDelta
from .mixture.adaptive_timeout import AdaptiveTimeout
from .mixture.aggregators import Aggregator, Pick, Synthesize, Vote
from .mixture.layer import Layer
from .mixture.mixture import Mixture
from .mixture.run import Hooks, MixtureRun, Strategy
from .mixture.strategies.early_exit import EarlyExit
from .mixture.strategies.guarded import Guarded
from .mixture.strategies.prewarm import Prewarm
from .mixture.strategies.staircase import Staircase
from .model import Model, ModelInfo, WithDefaults
from .models.scripted import Scripted
from .prompts.prompt import Prompt, aggregate_and_synthesize
from .span import CallSpec, Run, Span, generate
from .streaming import Events, stream
from .trace.tree import Node, Trace
from .types import Message, Request, Response, Usage
from .wrappers.cache import Cached, MemoryCache
from .wrappers.fallback import Fallback
from .wrappers.limiter import Limited, Limiter
from .wrappers.retry import Retried

if TYPE_CHECKING:
    from .store.cache import SQLiteCache
    from .store.store import Store
else:

    def __getattr__(name: str) -> object:
        """Import what stores runs only where it is used."""
        if name == "SQLiteCache":
            from .store.cache import SQLiteCache

            return SQLiteCache
        if name == "Store":
            from .store.store import Store

            return Store
        raise AttributeError(f"module 'moa' has no attribute {name!r}")


__all__ = [
    "AdaptiveTimeout",
    "Aggregator",
    "BadReply",
    "Budget",
    "Cached",
    "CallSpec",
    "ConfigError",
    "ContextOverflow",
    "CutStream",
    "EarlyExit",
    "Event",
    "Events",
    "Fallback",
    "Guarded",
    "Hooks",
    "Layer",
    "LayerError",
    "Limited",
    "Limiter",
    "Lost",
    "MemoryCache",
    "Message",
    "MissingKey",
    "Mixture",
    "MixtureRun",
    "MoaError",
    "Model",
    "ModelError",
    "ModelInfo",
    "Node",
    "Note",
    "Pick",
    "Prewarm",
    "Prompt",
    "Request",
    "RequestError",
    "Response",
    "Retried",
    "Run",
    "SQLiteCache",
    "Scripted",
    "Span",
    "SpanEnd",
    "SpanStart",
    "Staircase",
    "Store",
    "StoreError",
    "Strategy",
    "Synthesize",
    "TextDelta",
    "Trace",
    "Usage",
    "Vote",
    "WithDefaults",
    "aggregate_and_synthesize",
    "ask",
    "ask_many",
    "generate",
    "get_model",
    "stream",
]
