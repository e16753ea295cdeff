"""The first step: one trial. A configuration is trained for five epochs, and its curve is printed.

    python examples/1_one_trial.py

A study is many of these: the next step is `2_one_tier.py`.
"""

import tempfile

import torch

from tuner.data.load import load_training_data
from tuner.records import EpochsFinished, TrialJob
from tuner.spec.model import SweepSpec
from tuner.train.loop.cohort import Cohort
from tuner.train.task import Task

spec = SweepSpec(study="one_trial", data={"source": "sklearn/digits"}, model="mlp", training={"epochs": 5})
task = Task(spec, load_training_data(spec), torch.device("cpu"), device_name="cpu")

with tempfile.TemporaryDirectory() as folder:  # for its checkpoint, its curve and its weights
    job = TrialJob(trial=0, params={"learning_rate": 0.05}, seed=0, to_epoch=5, folder=folder)
    for events in Cohort(task, [job], worker="here").epochs():
        for result in [r for event in events if isinstance(event, EpochsFinished) for r in event.results]:
            print(f"epoch {result.epoch}: train loss {result.train_loss:.4f}, dev accuracy {result.dev_metric:.4f}")
