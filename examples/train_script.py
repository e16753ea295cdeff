"""A training script of its own, for `sweeps/command.yaml`: NumPy alone, and nothing of tuner but environment variables.

Run it by itself: python examples/train_script.py --learning-rate 0.1
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, default=0.1)
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--activation", choices=["relu", "tanh"], default="relu")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
to_epoch = int(os.environ.get("TUNER_TO_EPOCH", "12"))  # train so far, then end; TUNER_EPOCHS is the full training
checkpoint = Path(os.environ.get("TUNER_CHECKPOINT_DIR", ".")) / "digits.npz"

# The handwritten digits that come with scikit-learn: 64 pixels and the label in each row.
folder = Path((find_spec("sklearn").submodule_search_locations or [""])[0])  # type: ignore[union-attr]
with gzip.open(folder / "datasets" / "data" / "digits.csv.gz") as file:
    table = np.random.default_rng(0).permutation(np.loadtxt(file, delimiter=","))
images, labels = table[:, :-1] / 16, table[:, -1].astype(int)
train_x, train_y, dev_x, dev_y = images[450:], labels[450:], images[:450], labels[:450]

draw = np.random.default_rng(arguments.seed)
weights = {
    "hidden": draw.normal(0, np.sqrt(2 / 64), (64, arguments.width)),
    "output": draw.normal(0, np.sqrt(1 / arguments.width), (arguments.width, 10)),
}
velocity = {name: np.zeros_like(weight) for name, weight in weights.items()}
finished = 0
if os.environ.get("TUNER_RESUME"):  # an earlier start of this trial left a checkpoint
    with np.load(checkpoint) as state:
        finished = int(state["epoch"])
        weights = {name: state[name] for name in weights}
        velocity = {name: state[f"velocity_{name}"] for name in weights}


def hidden_layer(x: np.ndarray) -> np.ndarray:
    z = x @ weights["hidden"]
    return np.maximum(z, 0) if arguments.activation == "relu" else np.tanh(z)


def accuracy(x: np.ndarray, y: np.ndarray) -> float:
    return float(((hidden_layer(x) @ weights["output"]).argmax(axis=1) == y).mean())


def train_epoch(epoch: int) -> None:
    order = np.random.default_rng([arguments.seed, epoch]).permutation(len(train_x))
    for batch in np.array_split(order, len(order) // 32):
        x, y = train_x[batch], train_y[batch]
        h = hidden_layer(x)
        logits = h @ weights["output"]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = (shares / shares.sum(axis=1, keepdims=True) - np.eye(10)[y]) / len(y)
        slope = h > 0 if arguments.activation == "relu" else 1 - h**2
        gradients = {"hidden": x.T @ ((error @ weights["output"].T) * slope), "output": h.T @ error}
        for name, gradient in gradients.items():
            velocity[name] = 0.9 * velocity[name] - arguments.learning_rate * gradient
            weights[name] = weights[name] + velocity[name]


for epoch in range(finished + 1, to_epoch + 1):
    train_epoch(epoch)
    if "TUNER_CHECKPOINT_DIR" in os.environ:  # before the report: what is reported is then never lost
        new = checkpoint.with_name("new.npz")
        np.savez(new, epoch=epoch, **weights, **{f"velocity_{name}": v for name, v in velocity.items()})
        new.replace(checkpoint)  # whole at any moment
    print(
        json.dumps({"epoch": epoch, "accuracy": accuracy(dev_x, dev_y), "train_accuracy": accuracy(train_x, train_y)})
    )
