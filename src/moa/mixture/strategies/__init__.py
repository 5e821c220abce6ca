"""Strategies that change how a mixture runs."""
