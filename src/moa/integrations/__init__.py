"""Mixtures in other libraries, and other libraries' models in mixtures."""
