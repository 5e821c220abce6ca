"""Whether a mixture really mixes, from what was really sent and received."""

from .examination import Report, examine

__all__ = ["Report", "examine"]
