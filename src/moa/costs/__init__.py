"""Prices and expected use."""
