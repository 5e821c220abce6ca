"""Estimates of what a request will use."""
