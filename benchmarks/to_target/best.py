"""The best dev accuracy so far, told to `time_to_target.py`; without tuner, for Ray's environment."""

from __future__ import annotations

import json


class Best:
    """Prints each improvement with its time, one JSON object a line."""

    def __init__(self, target: float) -> None:
        self.target = target
        self.accuracy = 0.0

    @property
    def reached(self) -> bool:
        return self.accuracy >= self.target

    def saw(self, accuracy: float, at: float) -> bool:
        """Whether the target is reached; `at` in seconds since the epoch of the clock."""
        if accuracy > self.accuracy:
            self.accuracy = accuracy
            print(json.dumps({"accuracy": accuracy, "at": at}), flush=True)
        return self.reached
