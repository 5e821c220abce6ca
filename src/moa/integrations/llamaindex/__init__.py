"""LlamaIndex: a mixture as its LLM, and its LLMs as models of a mixture.

Requires `pip install "mixture-of-agents[llamaindex]"`.
"""

from .llm import MixtureLLM
from .model import LlamaIndexModel

__all__ = ["LlamaIndexModel", "MixtureLLM"]
