"""The HTTP API of the web page."""
