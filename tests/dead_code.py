"""Finds code that nothing uses: `python -m tests.dead_code`. What is alive all the same is in `pyproject.toml`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tuner.cli.main import COMMANDS
from tuner.spec.known.networks import MODELS

PLACES = (*COMMANDS.values(), *(model.place for model in MODELS.values()))
"""Functions that are imported by the name of their place, which vulture cannot see."""

if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    alive = [*project["tool"]["vulture"]["ignore_names"], *(place.rpartition(":")[2] for place in PLACES)]
    sys.exit(subprocess.call([sys.executable, "-m", "vulture", "--ignore-names", ",".join(alive)]))
