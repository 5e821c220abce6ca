"""Scorers of evaluation samples."""
