"""What a machine of two GPUs asks for, on the pretended one: the right device in each call, a host that never waits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.pretend_cuda import HAS_GPU, MACHINE
from tests.train.cohorts import curves, figures, jobs, make_task, run_cohort
from tests.train.test_exactness import TWO_LAYERS
from tests.train.test_gpu import in_depth, slow
from tests.train.test_program_memory import trained
from tuner.data.dataset import Split
from tuner.models.generators import seed_generators
from tuner.train.before import checks
from tuner.train.before.contract import check_contract
from tuner.train.loop.member import Run
from tuner.train.loop.slices import epoch_plan
from tuner.train.replay.cuda_graph import GraphedOperations

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.deep,
    pytest.mark.skipif(HAS_GPU, reason="asks the pretended machine"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning's
]

CASES: Mapping[str, Mapping[str, object]] = {
    "mlp": {},
    "cnn, batch norm": {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16, "norm": "batch"}},
    "mlp, augmented, mixup": {"augment": 0.5, "mixup": 0.2},
    "users' module": {"model": TWO_LAYERS},
    "users' module, draws by itself": {"model": "tests/train/user_modules.py:noisy"},
    "plain loop": {"fuse": "off"},
    "Lightning": {"model": "tests/train/lightning_modules.py:factory", "batch_size": 100},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", in_depth(CASES, but=["mlp", "users' module, draws by itself"]))
def test_the_second_gpu_trains_as_the_first(name: str, tmp_path: Path) -> None:
    found = []
    for device in ("cuda:0", "cuda:1"):
        members = jobs(tmp_path / device, slow(3))
        found.append(curves(run_cohort(make_task(device=device, **CASES[name]), members)))
    for trial in range(3):
        assert figures(found[0][trial]) == figures(found[1][trial])


def test_a_graph_that_holds_nothing_is_an_error() -> None:
    elsewhere, state = torch.zeros(3, device="cuda:1"), torch.zeros(3, device="cuda:0")
    step = GraphedOperations(lambda: elsewhere.add_(1.0), state=[state])
    with pytest.raises(UserWarning, match="The CUDA Graph is empty"):
        step()


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_what_is_drawn_on_a_gpu_is_seeded_on_that_gpu(device: str) -> None:
    drawn = []
    for _ in range(2):
        seed_generators(7, "epoch", 0, device=torch.device(device))
        drawn.append(torch.zeros(5, device=device).uniform_())
    assert torch.equal(*drawn)
    assert MACHINE.here.device == 0  # the current device stays what it was


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most_launches"),
    [("mlp", 6), ("cnn, batch norm", 6), ("mlp, augmented, mixup", 60), ("users' module", 60)],
)
def test_the_host_never_waits_in_a_step(gpu: str, name: str, most_launches: int, tmp_path: Path) -> None:
    task = make_task(device=gpu, **CASES[name])
    program = trained(task, tmp_path)
    runs = [Run.of(job, task) for job in jobs(tmp_path, slow(4))]
    plan = epoch_plan(task, runs)
    program.train_steps(plan, 0, 1)  # which makes the tables of the epoch
    MACHINE.counts.clear()
    program.train_steps(plan, 1, 3)
    assert MACHINE.waits == {}
    assert 2 <= MACHINE.counts["launch"] <= 2 * most_launches


class Recurrent(nn.Module):
    """A user's network that reads an image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, 16, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x[:, 0])[0][:, -1])


def recurrent(params: Mapping[str, object], data: object) -> nn.Module:
    return Recurrent()


def test_a_recurrent_layer_has_no_gradient_in_evaluation_mode() -> None:
    """The rule that the next tests stand on."""
    network = Recurrent().to("cuda").eval()
    with pytest.raises(RuntimeError, match="cudnn RNN backward can only be called in training mode"):
        network(torch.zeros(2, 1, 8, 8, device="cuda")).sum().backward()


RECURRENT = {"users'": "tests/train/test_gpu_machine.py:recurrent", "ours": "recurrent"}


@pytest.mark.slow
@pytest.mark.parametrize("model", in_depth(RECURRENT, but=["users'"]))
def test_recurrent_networks_pass_the_checks_and_train(
    gpu: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "OVERFIT_STEPS", 2)  # whether they can be done, and not how far they come
    monkeypatch.setattr(checks, "FALLING_STEPS", 2)
    task = make_task(device=gpu, model=RECURRENT[model], epochs=1, batch_size=100)
    if model == "users'":
        check_contract(task)
    members = jobs(tmp_path, [{"learning_rate": 0.01}], to_epoch=1)
    batch = Split(task.data.train.inputs[:16], task.data.train.targets[:16])
    for check in (checks.check_overfits, checks.check_falls):
        check(task, task.member(members[0]), batch)
    assert len(curves(run_cohort(task, members))[0]) == 1
