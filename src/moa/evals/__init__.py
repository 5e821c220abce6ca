"""Evaluation: benchmarks, your own prompts, and whether a mixture is worth its price."""
