"""A run folded into a tree, and views of it."""
