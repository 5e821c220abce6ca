"""Live and stored runs as the server shows them."""
