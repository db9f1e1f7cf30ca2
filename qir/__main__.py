"""`python -m qir` is the `qir` command."""

from .cli import main

main()
