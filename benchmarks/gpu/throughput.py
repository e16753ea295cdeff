"""Phase 4: 64 trials of one shape at once, against the loops that people write by hand."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import torch

from gpu.contestants import Trained, by_hand
from gpu.setting import CLASSES, Figures, Setting, in_turn, made_up, spread, task_of, tflops_of_product
from tuner.data.dataset import TrainingData

SHAPES = ((64, 2, 64), (128, 2, 128), (256, 3, 128), (512, 3, 256), (1024, 3, 256))
"""Units, hidden layers, batch size."""
BARS = {64: 20.0, 128: 20.0, 512: 3.0, 1024: 1.0}
"""How many times as fast as the lean loop tuner means to be, by units."""


def throughput(setting: Setting) -> Iterator[Figures]:
    data = made_up(setting.pick(20_000, 64), setting.pick(4_000, 20), (setting.pick(784, 16),))
    peak = tflops_of_product(torch.float32, size=setting.pick(8192, 16), seconds=setting.pick(0.5, 0.0))
    yield {"what": "product, float32", "tflops": peak}
    shapes = setting.pick(SHAPES, ((8, 1, 16),))
    ends = [setting.seconds * (place + 1) / len(shapes) for place in range(len(shapes))]
    for (units, layers, batch), end in zip(shapes, ends, strict=True):
        yield measure(setting, data, units=units, layers=layers, batch=batch, end=end, peak=peak)


def measure(
    setting: Setting, data: TrainingData, *, units: int, layers: int, batch: int, end: float, peak: float
) -> Figures:
    """Rounds of all contestants, as many as there is time for until `end` seconds of the phase have gone."""
    width = setting.pick(64, 3)
    shape = {"hidden_units": units, "hidden_layers": layers, "batch_size": batch}
    settings = {"hidden_units": units, "hidden_layers": layers}
    ours = Trained(task_of(data, settings=settings, batch_size=batch), width)
    contestants = {"tuner": ours.epoch, **by_hand(data, shape, count=2, epochs=1)}
    for _ in in_turn(contestants, rounds=1):
        pass  # everything is warm from here on
    found: dict[str, list[float]] = {name: [] for name in contestants}
    while True:
        for name, milliseconds in in_turn(contestants, rounds=1):
            found[name].append(milliseconds)
        rounds = len(found["tuner"])
        if rounds >= setting.pick(7, 1) or (rounds >= 2 and setting.seconds - setting.left() > end):
            break
    medians = {name: statistics.median(times) for name, times in found.items()}
    inputs = data.train.inputs[0].numel()
    products = inputs * units + (layers - 1) * units**2 + units * CLASSES
    examples = 3 * len(data.train) + len(data.dev) + min(len(data.train), len(data.dev))
    return {
        "what": f"{layers} x {units} units, batch {batch}",
        "width": width,
        "rounds": rounds,
        "ms_per_trial_epoch": {name: spread(times) for name, times in found.items()},
        "over": {name: round(medians[name] / medians["tuner"], 3) for name in medians if name != "tuner"},
        "bar_over_lean": BARS.get(units),
        "first_epoch_ms": round(ours.first_epoch_ms, 1),
        "tflops": round(2 * products * examples / medians["tuner"] / 1e9, 3),
        "share_of_peak": round(2 * products * examples / medians["tuner"] / 1e9 / peak, 4),
        "peak_gib": ours.peak_gib,
    }
