"""The trackers by name: they keep the curves and results of a sweep beside the study, for tools that people look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownTracker:
    """What there is to know of a tracker by its name."""

    place: str
    """`package.module:Class` of the `Tracker` (`tuner/track/tracker.py`). By name, since `spec` imports nothing of
    `track`."""
    package: str
    """What must be installed for it; the extra that brings it has the tracker's name."""


TRACKERS: Mapping[str, KnownTracker] = {
    "tensorboard": KnownTracker(place="tuner.track.tensorboard:TensorBoardTracker", package="tensorboard"),
    "mlflow": KnownTracker(place="tuner.track.mlflow:MlflowTracker", package="mlflow"),
    "wandb": KnownTracker(place="tuner.track.wandb:WandbTracker", package="wandb"),
}
"""In the order in which they are documented."""
