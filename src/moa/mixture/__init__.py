"""Mixtures of agents: layers of proposers and an aggregator."""
