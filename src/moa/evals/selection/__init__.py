"""Selection of proposers by performance and diversity."""
