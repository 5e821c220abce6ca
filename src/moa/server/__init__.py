"""Mixtures over HTTP, each a model that any client can choose: a fold of the events, with no logic of its own."""
