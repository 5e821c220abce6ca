"""`python -m moa`."""

from .cli import main

main()
