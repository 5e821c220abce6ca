"""The proposals from which the sentences of an answer come."""
