"""Models around models: retry, cache, limit, hedge."""
