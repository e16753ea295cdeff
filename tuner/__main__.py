"""`python -m tuner`: the same as the `tuner` command."""

import sys
from pathlib import Path

if __name__ == "__main__" and not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).parents[1]:
    del sys.path[0]  # the current folder: what is called random.py there is not for us

from tuner.cli.main import main

if __name__ == "__main__":  # worker processes import this module too
    main()
