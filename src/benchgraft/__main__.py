"""`python -m benchgraft`."""

from .cli import main

main()
