"""Wire protocols of clients."""
