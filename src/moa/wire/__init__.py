"""Wire formats: OpenAI chat completions and server-sent events."""
