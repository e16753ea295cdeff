"""`python -m tuner`: the same as the `tuner` command."""

from tuner.cli.main import main

if __name__ == "__main__":  # worker processes import this module too
    main()
