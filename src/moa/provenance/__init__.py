"""Where the sentences of an answer come from."""
