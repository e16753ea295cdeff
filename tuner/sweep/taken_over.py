"""A trial's state that another one goes on from."""

from __future__ import annotations

import os
import shutil

from tuner.paths import TrialPaths, beside, own_place
from tuner.train.loop.storing import storing


def take_over(source: TrialPaths, target: TrialPaths) -> None:
    """Make one trial's checkpoint that of another, too: the same file under two names, where the disk allows it.

    Checkpoints are replaced and never written to, so neither trial sees what the other does from here on. Where there
    is none, nothing happens: a trial without is trained from its start, with the values of its phases, to the same
    state.

    Raises:
        StorageError: the disk cannot take it.
    """
    if not source.checkpoint.exists():
        return
    with storing(target.checkpoint):
        own_place(target.checkpoint)
        target.folder.mkdir(parents=True, exist_ok=True)
        # Not under the name that checkpoints are written to: a file that is written there must be nobody else's.
        new = beside(target.checkpoint)
        new.unlink(missing_ok=True)
        try:
            os.link(source.checkpoint, new)
        except OSError:  # a disk without links
            shutil.copyfile(source.checkpoint, new)
        new.replace(target.checkpoint)
        new.unlink(missing_ok=True)  # it stays where both are one file already
        target.previous_checkpoint.unlink(missing_ok=True)  # of a training that is its own no more
