"""`python -m contractile.cli` is the same program."""

from contractile.cli.program import main

main()
