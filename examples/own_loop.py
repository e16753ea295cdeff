"""A training loop of one's own, with noise on its inputs. See sweeps/trainer.yaml."""

from __future__ import annotations

import torch
from torch import nn

from tuner import TrialHandle


def train(trial: TrialHandle) -> None:
    """Train one trial, from its checkpoint if it has one."""
    data = trial.data
    assert data is not None  # the sweep file has a data block
    model = nn.Sequential(
        nn.Linear(data.info.input_shape[0], int(trial.params["width"])),
        nn.Tanh(),
        nn.Linear(int(trial.params["width"]), data.info.num_outputs),
    ).to(trial.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=float(trial.params["learning_rate"]))
    checkpoint = trial.checkpoint_dir / "net.pt"
    finished = 0
    if checkpoint.exists():  # this trial was paused, or the run was interrupted
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        finished = state["epoch"]

    def accuracy(inputs: torch.Tensor, targets: torch.Tensor) -> float:
        with torch.no_grad():
            return float((model(inputs).argmax(1) == targets).float().mean())

    for epoch in range(finished + 1, trial.epochs + 1):
        draw = torch.Generator().manual_seed(trial.seed + epoch)  # each epoch's own, for exact resume
        order = torch.randperm(len(data.train), generator=draw)
        for batch in order.split(32):
            inputs, targets = data.train.inputs[batch], data.train.targets[batch]
            noise = torch.randn(inputs.shape, generator=draw).to(trial.device)
            outputs = model(inputs + float(trial.params["noise"]) * noise)
            optimizer.zero_grad()
            nn.functional.cross_entropy(outputs, targets).backward()
            optimizer.step()
        trial.report(
            epoch,
            accuracy=accuracy(data.dev.inputs, data.dev.targets),
            train_accuracy=accuracy(data.train.inputs, data.train.targets),
        )
        if trial.should_stop() or epoch % 5 == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, checkpoint)
        if trial.should_stop():
            return
