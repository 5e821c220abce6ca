"""Shared helpers of the tests: servers, upstreams, commands, requests."""
