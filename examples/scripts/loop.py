"""A training loop that tells tuner of its epochs with one line. By hand it is a script like any other:

python examples/scripts/loop.py --lr 0.01
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

import tuner

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--epochs", type=int, default=9)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

pixels, labels = load_digits(return_X_y=True)
inputs, targets = torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(labels)
order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
train, dev = order[360:], order[:360]

torch.manual_seed(options.seed)
model = nn.Sequential(nn.Linear(64, options.width), nn.ReLU(), nn.Linear(options.width, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)

for epoch in range(1, options.epochs + 1):
    for batch in train[torch.randperm(len(train))].split(32):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = (model(inputs[dev]).argmax(1) == targets[dev]).float().mean()
    tuner.report(epoch, accuracy=accuracy, train_loss=loss)
    print(f"epoch {epoch}: {accuracy:.3f}")
