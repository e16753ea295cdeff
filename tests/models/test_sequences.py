"""The networks for sequences: what they take, and that they learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from tests.train.cohorts import curves, jobs, make_spec, make_task, run_cohort
from tuner.data.dataset import DataInfo, Split, TrainingData
from tuner.errors import DataError
from tuner.models.build import build_module
from tuner.spec.defaults import settings_for
from tuner.spec.known.networks import DESCRIBED, MODELS
from tuner.train.before.checks import run_checks

SMALL: Mapping[str, Mapping[str, object]] = {
    "conv1d": {"channels": 8},
    "recurrent": {"hidden_units": 16},
    "transformer": {"units_per_head": 4, "hidden_layers": 1},
}


def info(*input_shape: int) -> DataInfo:
    return DataInfo(
        task="classification", input_shape=input_shape, num_outputs=3, num_train=120, num_dev=60, num_test=0
    )


def build(model: str, *input_shape: int, seed: int = 0, **settings: object) -> torch.nn.Module:
    spec = make_spec(model=model, settings={**SMALL[model], **settings})
    return build_module(spec, settings_for(spec, {}), info(*input_shape), seed=seed)


MODULES = [model for model in MODELS if model not in DESCRIBED]


@pytest.mark.parametrize("input_shape", [(9, 2), (1, 5), (1, 6, 4), (3, 5, 7)])
@pytest.mark.parametrize("model", MODULES)
def test_sequences_and_images_of_any_size_have_an_output_for_each_class(
    model: str, input_shape: tuple[int, ...]
) -> None:
    assert build(model, *input_shape).eval()(torch.zeros(2, *input_shape)).shape == (2, 3)


@pytest.mark.parametrize("model", MODULES)
def test_an_image_is_the_sequence_of_its_rows(model: str) -> None:
    of_images, of_rows = build(model, 3, 5, 7).eval(), build(model, 5, 21).eval()
    images = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    rows = torch.stack([torch.cat([images[:, c, r] for c in range(3)], dim=1) for r in range(5)], dim=1)
    assert torch.equal(of_images(images), of_rows(rows))


@pytest.mark.parametrize("model", MODULES)
def test_a_table_is_no_sequence(model: str) -> None:
    with pytest.raises(DataError, match=rf"model {model} needs sequences .*got examples of shape \(30,\)"):
        build(model, 30)


def test_a_recurrent_model_has_a_layer() -> None:
    with pytest.raises(DataError, match="at least 1, got 0"):
        build("recurrent", 4, 2, hidden_layers=0)


def test_the_order_of_the_steps_matters_to_each() -> None:
    x = torch.randn(1, 9, 2, generator=torch.Generator().manual_seed(0))
    for model in MODULES:
        module = build(model, 9, 2).eval()
        assert not torch.allclose(module(x), module(x.flip(1)), atol=1e-4), model


def test_a_bidirectional_model_reads_from_both_ends() -> None:
    module = build("recurrent", 9, 2, bidirectional=True, hidden_units=4).eval()
    x = torch.randn(1, 9, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    assert gradient[0, 0].abs().max() > 1e-3
    assert gradient[0, -1].abs().max() > 1e-3


@pytest.mark.parametrize("init", ["he", "xavier", "lecun"])
def test_initial_weights_can_be_drawn_anew(init: str) -> None:
    drawn, library = build("transformer", 9, 2, seed=1, init=init), build("transformer", 9, 2, seed=1)
    for (name, a), b in zip(drawn.named_parameters(), library.parameters(), strict=True):
        assert torch.equal(a, b) == (a.dim() == 1), name


def waves() -> TrainingData:
    """Slow and quick waves, and noise."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(180) % 3
    phase = torch.rand(180, 1, generator=draw) * 6.3
    time = torch.arange(12.0)
    clean = torch.stack([torch.sin(0.7 * time + phase), torch.sin(2.2 * time + phase), torch.zeros(180, 12)])
    x = clean[y, torch.arange(180)] + 0.3 * torch.randn(180, 12, generator=draw)
    x = x.unsqueeze(-1)
    return TrainingData(Split(x[:120], y[:120]), Split(x[120:], y[120:]), info(12, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [pytest.param(m, marks=pytest.mark.deep if m == "transformer" else ()) for m in MODULES]
)
def test_the_first_trial_of_the_default_settings_learns_and_passes_all_checks(model: str, tmp_path: Path) -> None:
    task = make_task(waves(), model=model, optimizer="adam", epochs=20, batch_size=16)
    (job,) = jobs(tmp_path, [{}], to_epoch=20)
    assert [c for c in run_checks(task, job, gradients=True) if not c.passed] == []
    assert curves(run_cohort(task, [job]))[0][-1].dev_metric > 0.6  # a guess has 0.33
