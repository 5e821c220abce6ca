"""Text tools: similarity, sentences, facts, diffs."""
