"""`python -m benchgraft`."""

from .cli import program

program()
