"""Prompts that show references to a model."""
