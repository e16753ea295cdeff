"""Networks of several widths and depths as rows of one shape: each trains as if it were alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.depth import at_depth
from tests.train.cohorts import curves, digits, figures, jobs, make_task, run_cohort
from tests.train.test_stacked import check_gradients, norms_single_values, split_for, stacked
from tests.train.trials import member_of, plan_of, relative_difference, settings_of
from tuner.models.layers.activations import ACTIVATIONS
from tuner.models.mlp import mlp
from tuner.models.network import Network
from tuner.models.tabular import tabular
from tuner.paths import TrialPaths
from tuner.records import EpochResult, Params, TrialEvent
from tuner.train.loop.checkpoint import read_checkpoint
from tuner.train.loop.cohort import Cohort

SIZES: list[Params] = [
    {"hidden_units": 5, "hidden_layers": 1, "dropout": 0.4},
    {"hidden_units": 40, "hidden_layers": 3, "momentum": 0.5},
    {"hidden_units": 20, "hidden_layers": 2, "weight_decay": 0.01},
    {"hidden_units": 17, "hidden_layers": 4, "dropout": 0.2},
]


@st.composite
def of_several_sizes(draw: st.DrawFn) -> list[Network]:
    alike = {
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "norm": draw(st.sampled_from(["none", "batch", "layer"])),
        "residual": draw(st.booleans()),
    }
    inputs, outputs, numbers = draw(st.integers(1, 20)), draw(st.integers(1, 20)), draw(st.booleans())

    def one() -> Network:
        widths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
        units = widths[0] if alike["residual"] or numbers else str(widths)
        values = {**alike, "hidden_units": units, "hidden_layers": len(widths), "number_embedding": "periodic"}
        if numbers:
            return tabular(values, input_shape=(inputs,), num_outputs=outputs, num_numbers=max(1, inputs // 2))
        return mlp(values, input_shape=(inputs,), num_outputs=outputs)

    return [one() for _ in range(draw(st.integers(2, 4)))]


@pytest.mark.slow
@given(
    networks=of_several_sizes(),
    loss=st.sampled_from(["cross_entropy", "binary_cross_entropy", "mse"]),
    dropout=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=at_depth(80), deadline=None)
def test_gradients_are_those_of_autograd(networks: list[Network], loss: str, dropout: float, seed: int) -> None:
    assume(not any(map(norms_single_values, networks)))
    check_gradients(networks, loss=loss, dropout=dropout, seed=seed)


@pytest.mark.slow
@given(networks=of_several_sizes(), seed=st.integers(0, 1000))
@settings(max_examples=at_depth(40), deadline=None)
def test_a_state_is_that_of_the_network_alone(networks: list[Network], seed: int) -> None:
    """Before training to the bit, whoever joins and leaves."""
    trial = settings_of(optimizer="adam", averaging="ema", batch_size=8, num_train=23)
    members = [member_of(network, trial, seed=seed + k) for k, network in enumerate(networks)]
    train = split_for(networks[0], loss="cross_entropy", seed=seed)
    alone = [stacked([member], train, "cross_entropy").state(0) for member in members]
    program = stacked(members[:1], train, "cross_entropy").resized([0], members[1:])
    for row, expected in enumerate(alone):
        found = program.state(row)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    program = program.resized([len(members) - 1], [])
    assert all(torch.equal(program.state(0)[name], value) for name, value in alone[-1].items())


@pytest.mark.parametrize(
    ("optimizer", "norm"),  # not Adam above a batch norm: it makes steps of rounding, for a bias that has no gradient
    [("sgd", "none"), ("sgd", "batch"), ("sgd", "layer"), ("adam", "none"), ("adam", "layer")],
)
def test_what_is_trained_is_what_is_trained_alone(optimizer: str, norm: str) -> None:
    alike = {"activation": "gelu", "norm": norm, "residual": False}
    networks = [mlp({**alike, **own}, input_shape=(9,), num_outputs=4) for own in SIZES]
    trial = settings_of(
        optimizer=optimizer, learning_rate=0.001, batch_size=8, num_train=23, max_norm=2.0, clip_norm=1.0, l1=1e-4
    )
    members = [member_of(network, trial, seed=k) for k, network in enumerate(networks)]
    train = split_for(networks[0], loss="cross_entropy")
    together = stacked(members, train, "cross_entropy")
    apart = [stacked([member], train, "cross_entropy") for member in members]
    for program, own in ((together, members), *zip(apart, ([m] for m in members), strict=True)):
        for epoch in range(3):
            plan = plan_of(own, num_train=23, epoch=epoch)
            program.train_steps(plan, 0, len(plan.step_SK))
        program.save_best(range(len(own)))
    norms, dead = together.gradient_norms(), together.dead_units(train.inputs)
    for row, alone in enumerate(apart):
        weights = alone.best_weights(0)
        assert together.best_weights(row).keys() == weights.keys()
        for name, value in together.best_weights(row).items():
            assert relative_difference(value, weights[name]) < 1e-4, name
        for found, expected in ((norms, alone.gradient_norms()), (dead, alone.dead_units(train.inputs))):
            own_values = {name: float(values[row]) for name, values in found.items() if not values[row].isnan()}
            assert own_values == pytest.approx({name: float(values[0]) for name, values in expected.items()}, rel=1e-3)


def close(found: Sequence[EpochResult], expected: Sequence[EpochResult]) -> bool:
    rows = [torch.tensor(figures(curve)) for curve in (found, expected)]
    return rows[0].shape == rows[1].shape and torch.allclose(*rows, rtol=1e-4, atol=1e-5)


def test_curves_are_those_of_trials_alone_and_a_checkpoint_goes_on_in_any_company(tmp_path: Path) -> None:
    task = make_task(settings={"norm": "batch"})
    whole = {job.trial: curves(run_cohort(task, [job]))[job.trial] for job in jobs(tmp_path / "alone", SIZES)}
    early = jobs(tmp_path / "mixed", SIZES, to_epoch=1)
    assert all(close(found, whole[trial][:1]) for trial, found in curves(run_cohort(task, early)).items())
    shapes = []
    for job in early:
        left = read_checkpoint(TrialPaths(Path(job.folder)))
        assert left is not None
        shapes.append({name: t.shape for name, t in left.state.items()})
    for job, own in zip(jobs(tmp_path / "alone again", SIZES, to_epoch=1), shapes, strict=True):
        run_cohort(task, [job])
        left = read_checkpoint(TrialPaths(Path(job.folder)))
        assert left is not None
        assert {name: t.shape for name, t in left.state.items()} == own
    # One goes on alone, and leaves again; the others in pairs with one that comes to them from there.
    alone, *others = jobs(tmp_path / "mixed", SIZES)
    met = [replace(job, trial=9) for job in jobs(tmp_path / "alone again", SIZES)][1]
    for members in ([replace(alone, to_epoch=2)], [alone, others[2]], [others[0], met], [others[1]]):
        for trial, found in curves(run_cohort(task, members)).items():
            assert close(found, whole[1 if trial == 9 else trial][: len(found)]), trial
    assert TrialPaths(Path(met.folder)).weights.exists()


def test_members_leave_and_join_in_the_middle(tmp_path: Path) -> None:
    """The shape shrinks and grows with them."""
    task = make_task()
    whole = {job.trial: curves(run_cohort(task, [job]))[job.trial] for job in jobs(tmp_path / "alone", SIZES)}
    members = jobs(tmp_path / "mixed", SIZES)
    cohort = Cohort(task, [members[0], replace(members[1], to_epoch=1)], worker="test")
    events: list[TrialEvent] = []
    for number, some in enumerate(cohort.epochs()):
        events += some
        if number == 0:
            cohort.join([members[3]])
    found = curves(events)
    assert sorted(found) == [0, 1, 3]
    for trial, curve in found.items():
        assert close(curve, whole[trial][: len(curve)]), trial


@pytest.mark.gpu
@pytest.mark.slow
def test_a_gpu_trains_them_in_one_graph(gpu: str, tmp_path: Path) -> None:
    few = digits(140, 60)
    slowly = [{**params, "learning_rate": 1e-3} for params in SIZES]
    on_cpu, on_gpu = make_task(few), make_task(few, device=gpu)
    together = curves(run_cohort(on_gpu, jobs(tmp_path / "mixed", slowly, to_epoch=2)))
    for job in jobs(tmp_path / "alone", slowly, to_epoch=2):
        assert close(together[job.trial], curves(run_cohort(on_cpu, [job]))[job.trial])
