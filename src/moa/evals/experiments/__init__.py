"""Experiments that compare mixtures."""
