"""`python -m tuner`: the same as the `tuner` command."""

from tuner.cli.main import main

main()
