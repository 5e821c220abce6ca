"""LlamaIndex: a mixture as its LLM, and any of its LLMs as a model of a mixture.

It needs `pip install "mixture-of-agents[llamaindex]"`.
"""

from .llm import MixtureLLM
from .model import LlamaIndexModel

__all__ = ["LlamaIndexModel", "MixtureLLM"]
