"""`python -m tunefront.search` is the command line."""

from .cli import main

main()
