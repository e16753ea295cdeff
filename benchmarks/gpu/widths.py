"""Phase 5: how throughput goes with the width of a cohort and with the precision, and what users' modules get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from gpu.contestants import Trained, by_hand
from gpu.networks import as_written
from gpu.setting import Figures, Setting, in_turn, made_up, spread, task_of
from gpu.truth import NORMED
from tuner.data.dataset import TrainingData
from tuner.spec.model import TrainingSpec

PRECISIONS = get_args(TrainingSpec.model_fields["precision"].annotation)


def widths(setting: Setting) -> Iterator[Figures]:
    data = made_up(setting.pick(20_000, 64), setting.pick(4_000, 20), (setting.pick(784, 16),))
    yield from users_module(setting, data)
    batch = setting.pick(256, 16)
    large = {"hidden_units": setting.pick(1024, 8), "hidden_layers": 3}
    for precision in PRECISIONS:
        yield alone(setting, data, setting.pick(16, 2), settings=large, batch_size=batch, precision=precision)
    for width in setting.pick((64, 8, 1, 256), (1, 2)):
        for units in setting.pick((64, 512), (4,)):
            if setting.has(0.1):
                small = {"hidden_units": units, "hidden_layers": 2}
                yield alone(setting, data, width, settings=small, batch_size=setting.pick(128, 16))


def alone(setting: Setting, data: TrainingData, width: int, **spec: Any) -> Figures:
    """A cohort by itself."""
    trained = Trained(task_of(data, **spec), width)
    times = [trained.epoch() for _ in range(setting.pick(3, 1))]
    settings = spec["settings"]
    return {
        "what": f"{settings['hidden_layers']} x {settings['hidden_units']} units",
        "precision": spec.get("precision", "float32"),
        "width": width,
        "ms_per_trial_epoch": spread(times),
        "first_epoch_ms": round(trained.first_epoch_ms, 1),
        "peak_gib": trained.peak_gib,
    }


def users_module(setting: Setting, data: TrainingData) -> Figures | Iterator[Figures]:
    """An MLP with batch norm of a user's: as rows, as written by tuner, and in a loop by hand."""
    batch, width, units = setting.pick(128, 16), setting.pick(64, 3), setting.pick(64, 4)
    spec: dict[str, Any] = {"model": NORMED, "settings": {"hidden_units": units}, "batch_size": batch}
    fused = Trained(task_of(data, **spec), width)
    written = Trained(task_of(data, fuse="off", **spec), setting.pick(4, 2))
    shape = {"hidden_units": units, "batch_size": batch}
    lean = by_hand(data, shape, count=2, epochs=1, make=as_written)["lean"]
    contestants = {"fused": fused.epoch, "as written": written.epoch, "lean": lean}
    lean()
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for name, milliseconds in in_turn(contestants, rounds=setting.pick(3, 1)):
        found[name].append(milliseconds)
    yield {
        "what": f"users' module with batch norm, 2 x {units} units",
        "width": width,
        "ms_per_trial_epoch": {name: spread(times) for name, times in found.items()},
    }
