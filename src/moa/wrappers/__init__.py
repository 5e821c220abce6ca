"""Wrappers: models around models that retry, cache, limit and hedge."""
