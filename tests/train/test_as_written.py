"""A user's module is trained as its own code says: as a loop written by hand around it trains it, to the bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.train import written_modules
from tests.train.cohorts import curves, digits, figures, jobs, make_task, run_cohort
from tuner.errors import TunerError
from tuner.models.keyed import batch_order, key
from tuner.records import EpochResult, Params, TrialStarted

FILE = "tests/train/written_modules.py"
EPOCHS, BATCH_SIZE = 3, 32
CONFIGURATION: Params = {"learning_rate": 0.05, "momentum": 0.9}
HABITS = [
    name
    for name, kind in vars(written_modules).items()
    if isinstance(kind, type) and issubclass(kind, written_modules.Net)
]
"""All modules of the file."""


def seed_all(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


@contextmanager
def own_generators() -> Iterator[None]:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


def by_hand(name: str, *, seed: int) -> list[tuple[float, float]]:
    """What a plain loop gives: dev loss and accuracy after each epoch."""
    data = digits()
    train, dev = data.train, data.dev
    found = []
    with own_generators():
        seed_all(key(seed, "init"))
        module: nn.Module = getattr(written_modules, name)({}, data.info)
        trained = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9)
        for epoch in range(EPOCHS):
            seed_all(key(seed, "epoch", epoch))
            module.train()
            for batch in batch_order(seed, epoch, len(train)).split(BATCH_SIZE):
                optimizer.zero_grad()
                nn.functional.cross_entropy(module(train.inputs[batch]), train.targets[batch]).backward()
                optimizer.step()
            seed_all(key(seed, "evaluation"))
            module.eval()
            with torch.no_grad():
                outputs = module(dev.inputs.clone())
            loss = nn.functional.cross_entropy(outputs, dev.targets)
            found.append((float(loss), float((outputs.argmax(1) == dev.targets).float().mean())))
    return found


def trained(name: str, folder: Path, *, count: int = 1, **training: Any) -> dict[int, list[EpochResult]]:
    task = make_task(model=f"{FILE}:{name}", batch_size=BATCH_SIZE, epochs=EPOCHS, **training)
    return curves(run_cohort(task, jobs(folder, [CONFIGURATION] * count)))


@pytest.mark.slow
@pytest.mark.parametrize("name", HABITS)
def test_without_fusing_it_is_the_loop_that_one_would_write(name: str, tmp_path: Path) -> None:
    (curve,) = trained(name, tmp_path, fuse="off").values()
    expected = by_hand(name, seed=1000)
    if name != "DropsInEvaluation":  # dev examples are evaluated together with others, and draw masks with these
        assert [(r.dev_loss, r.dev_metric) for r in curve] == [pytest.approx(pair, rel=1e-6) for pair in expected]
    assert curve[-1].train_loss < 2.2


@pytest.mark.slow
@pytest.mark.parametrize("name", HABITS)
def test_neither_neighbours_nor_a_second_training_change_it(name: str, tmp_path: Path) -> None:
    data = digits()
    before = data.train.inputs.clone(), data.dev.inputs.clone()
    together = trained(name, tmp_path / "together", count=3, fuse="off")
    assert torch.equal(data.train.inputs, before[0])
    assert torch.equal(data.dev.inputs, before[1])
    (alone,) = trained(name, tmp_path / "alone", fuse="off").values()
    assert figures(alone) == figures(together[0])


FUSED = {"Net", "HeldNorm", "ChangesInputs", "CountsUnsaved", "Dropping", "NumpyWeights"}
"""Those that compute the same as rows."""
REASONS = {
    "ShortWeights": "its forward reaches for the data of a tensor, past what autograd sees",
    "CountsPasses": "its forward changes passes, which is no parameter or buffer",
    "CountsInBuffer": "as a row of a stack it trains inner.weight otherwise than its own code does",
    "Skipping": "its forward draws random numbers itself, from NumPy's generator",
    "Spectral": "its parameter spectrum holds complex64 numbers, and rows hold float32",
    "DropsInEvaluation": "its dropout is on in evaluation",
    "RaisesRate": "its code sets the rate of a dropout layer",
    "ReadsRate": "it looks at the rate of a dropout layer",
    "Averaged": "torch.func has no rule for aten::lerp_, and would run it for one trial after the other",
    "Permuted": "its parameter order holds int64 numbers, and rows hold float32",
    "Narrow": "its parameter body.weight holds bfloat16 numbers, and rows hold float32",
    "HasVersion": "it saves more than parameters and buffers, in _extra_state",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HABITS)
def test_it_is_fused_only_where_that_gives_the_same(name: str, tmp_path: Path) -> None:
    task = make_task(model=f"{FILE}:{name}", batch_size=BATCH_SIZE, epochs=EPOCHS)
    events = run_cohort(task, jobs(tmp_path / "fused", [CONFIGURATION] * 2))
    assert {e.path for e in events if isinstance(e, TrialStarted)} == {"vmap" if name in FUSED else "plain"}
    if name == "Dropping":
        return  # other masks
    written = trained(name, tmp_path / "written", count=2, fuse="off")
    for trial, curve in curves(events).items():
        expected = [(r.dev_loss, r.train_loss) for r in written[trial]]
        assert [(r.dev_loss, r.train_loss) for r in curve] == [pytest.approx(pair, rel=1e-5) for pair in expected]


@pytest.mark.parametrize("name", REASONS)
def test_why_it_is_not_fused_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(TunerError) as found:
        trained(name, tmp_path, fuse="require")
    assert str(found.value) == f"fuse: require, but {FILE}:{name} cannot be fused: {REASONS[name]}"


def test_every_habit_is_either_fused_or_has_a_reason() -> None:
    assert FUSED | set(REASONS) == set(HABITS)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("mlp", "as a row of a stack"),
        (f"{FILE}:Net", "as a row of a stack, which is proven to compute the same"),
        (f"{FILE}:ReadsRate", "one trial at a time: it looks at the rate of a dropout layer"),
    ],
)
def test_how_a_configuration_is_trained_is_told(model: str, words: str, tmp_path: Path) -> None:
    task = make_task(model=model)
    (job,) = jobs(tmp_path, [{}])
    assert task.ways.told(task.member(job)) == words
