"""The `resources:` block: what of a machine a worker has, which trains one trial, or one cohort of them, at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PrivateAttr

from tuner.errors import SweepFileError
from tuner.spec.values import Part


class ResourcesSpec(Part):
    """What each worker has; left out: a GPU, or a core where there is none."""

    gpus: Annotated[float, Field(gt=0)] | None = None
    """GPUs: below 1 so many trials that do not fuse share one (`0.25`: four). More than one, a whole number, is for
    training code of your own (`command: torchrun ...`, `trainer:`), which sees these GPUs and no others."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """Cores, for training code of your own: the threads of its libraries, and by which workers are counted. A network
    that tuner trains has one, so that its curve depends on no number of cores."""
    _places: Mapping[str, str] = PrivateAttr(default_factory=dict)
    """Where each key stands in the sweep file."""

    @property
    def num_sharers(self) -> int:
        """How many workers have their place on one GPU."""
        return max(1, int(1 / self.gpus + 1e-9)) if self.gpus is not None else 1

    @property
    def num_gpus(self) -> int:
        """How many GPUs a worker sees, where it has any."""
        return max(1, int(self.gpus)) if self.gpus is not None else 1

    def at(self, places: Mapping[str, str]) -> ResourcesSpec:
        """The same, with the places of its keys."""
        found = self.model_copy()
        found._places = places
        return found

    def refusal(self, key: str, rule: str) -> SweepFileError:
        """The error of what a machine has not got."""
        value = getattr(self, key)
        return SweepFileError([f"{self._places.get(key, 'the sweep file')}: resources.{key}: {rule}, got {value:g}"])
