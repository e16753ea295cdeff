"""What augmentation and the other changes of a batch do to images and labels, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.train.cohorts import curves, diabetes, digits, figures, jobs, make_task, run_cohort
from tests.train.trials import member_of, plan_of, settings_of
from tuner.data.dataset import Split
from tuner.errors import DataError
from tuner.models.mlp import mlp
from tuner.train.batch.augment import draw_rows, transform
from tuner.train.batch.batches import BatchChanges
from tuner.train.measure.losses import mean_loss
from tuner.train.program import Problem, class_shares
from tuner.train.settings import Augmentation

NOTHING = Augmentation(strength=1.0, flip=False, shift=False, rotate=False, zoom=False, cutout=False, noise=False)
ALL = Augmentation(strength=1.0, flip=True, shift=True, rotate=True, zoom=True, cutout=True, noise=False)
IMAGES = digits().train.inputs[:64]


def rows_of(augmentation: Augmentation, *, seed: int = 3, epoch: int = 0, aspect: float = 1.0) -> torch.Tensor:
    return draw_rows(augmentation, seed, epoch, len(IMAGES), aspect)


def test_a_flip_mirrors_half_of_the_images_at_full_strength_and_changes_no_other() -> None:
    flip = replace(NOTHING, flip=True)
    changed = transform(IMAGES, rows_of(flip), flip)
    mirrored = [torch.allclose(a, b.flip(-1), atol=1e-5) for a, b in zip(changed, IMAGES, strict=True)]
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(changed, IMAGES, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


def test_cutout_blanks_a_square_at_most_half_as_wide_and_nothing_else() -> None:
    cutout = replace(NOTHING, cutout=True)
    changed = transform(IMAGES + 9.0, rows_of(cutout), cutout)
    blank = changed == 0
    assert torch.equal(changed[~blank], (IMAGES + 9.0)[~blank])
    assert 1 <= int(blank.flatten(1).sum(1).max()) <= 16  # of 8 by 8


@pytest.mark.parametrize("kind", ["shift", "rotate", "zoom"])
def test_a_kind_moves_pixels_more_the_stronger_it_is(kind: str) -> None:
    apart = []
    for strength in (0.0, 0.3, 1.0):
        augmentation = replace(NOTHING, strength=strength, **{kind: True})
        changed = transform(IMAGES, rows_of(augmentation), augmentation)
        apart.append(float((changed - IMAGES).abs().mean()))
    assert apart[0] < 1e-5 < apart[1] < apart[2]


def test_an_image_that_is_not_square_keeps_its_shape_when_it_is_rotated() -> None:
    wide = torch.zeros(1, 1, 20, 60)
    wide[:, :, 5:15, 25:35] = 1.0  # a square in the middle
    turn = replace(NOTHING, rotate=True)
    found = transform(wide, rows_of(turn, aspect=20 / 60)[:1], turn)
    assert float(found.sum()) == pytest.approx(100.0, rel=0.05)


@pytest.mark.slow
@given(seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 1000), chosen=st.permutations(range(8)))
def test_what_happens_to_an_image_depends_on_seed_epoch_and_example_alone(
    seed: int, epoch: int, chosen: list[int]
) -> None:
    rows = rows_of(ALL, seed=seed, epoch=epoch)
    assert torch.equal(rows, rows_of(ALL, seed=seed, epoch=epoch))
    assert not torch.equal(rows, rows_of(ALL, seed=seed, epoch=epoch + 1))
    whole, part = transform(IMAGES, rows, ALL), transform(IMAGES[chosen], rows[chosen], ALL)
    assert torch.equal(whole[chosen], part)


def changes_of(**params: float) -> tuple[BatchChanges, torch.Tensor, torch.Tensor]:
    """Three trials' first batch of 32, unchanged images and shares of the classes; and the changes to it."""
    data = digits()
    network = mlp(
        {"hidden_units": 4, "hidden_layers": 1, "activation": "relu", "norm": "none", "residual": False},
        input_shape=(1, 8, 8),
        num_outputs=10,
    )
    members = [member_of(network, settings_of(batch_size=32, **params), seed=i) for i in range(3)]
    problem = Problem(train=data.train, loss="cross_entropy", num_outputs=10, device=torch.device("cpu"))
    changes = BatchChanges(members, problem)
    plan = plan_of(members, num_train=300)
    indices = plan.order_KN[:, :32].reshape(-1)
    x, y = data.train.inputs[indices], class_shares(data.train.targets[indices], 10)
    if changes.active:
        drawn = {name: table[0] for name, table in changes.begin(plan).items()}
        changes.apply(x, y, plan.order_KN[:, :32], drawn)
    return changes, x.view(3, 32, -1), y.view(3, 32, 10)


def test_label_smoothing_has_the_loss_of_torch() -> None:
    changes, _, y = changes_of(label_smoothing=0.2)
    assert changes.soft_labels
    outputs = torch.randn(32, 10, generator=torch.Generator().manual_seed(0))
    _, _, hard = changes_of()
    expected = torch.nn.functional.cross_entropy(outputs, hard[0].argmax(dim=1), label_smoothing=0.2)
    assert float(mean_loss(outputs, y[0], loss="cross_entropy")) == pytest.approx(float(expected), rel=1e-5)


def test_mixup_blends_inputs_and_labels_of_an_example_with_one_other_by_the_same_share() -> None:
    _, x, y = changes_of(mixup=1.0)
    _, plain, hard = changes_of()
    for trial in range(3):
        pairs = hard[trial].argmax(1) != hard[trial].roll(1, 0).argmax(1)
        shares = y[trial][pairs].gather(1, hard[trial][pairs].argmax(1, keepdim=True))
        share = float(shares[0])
        assert torch.allclose(shares, torch.full_like(shares, share), atol=1e-6)
        expected = share * plain[trial] + (1 - share) * plain[trial].roll(1, 0)
        assert torch.allclose(x[trial], expected, atol=1e-5)
    assert torch.allclose(y.sum(dim=2), torch.ones(3, 32))


def test_input_dropout_drops_its_share_and_scales_the_rest() -> None:
    _, x, _ = changes_of(input_dropout=0.25)
    _, plain, _ = changes_of()
    dropped = (x == 0) & (plain != 0)
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.allclose(x[~dropped], plain[~dropped] / 0.75)
    assert not torch.equal(dropped[0], dropped[1])


@pytest.mark.slow
def test_trials_of_different_strength_share_a_cohort_and_do_not_change_each_other(tmp_path: Path) -> None:
    task = make_task(augment_noise=True)
    configurations = [
        {"augment": 0.2 * (i + 1), "mixup": 0.1 * (i + 1), "label_smoothing": 0.05, "input_dropout": 0.1 * (i + 1)}
        for i in range(4)
    ]
    together = curves(run_cohort(task, jobs(tmp_path / "a", configurations)))
    for job in jobs(tmp_path / "b", configurations)[1:3]:
        assert figures(curves(run_cohort(task, [job]))[job.trial]) == figures(together[job.trial])


def test_the_examples_themselves_stay_as_they_are(tmp_path: Path) -> None:
    data = digits()
    before = Split(data.train.inputs.clone(), data.train.targets.clone()), data.dev.inputs.clone()
    for fuse in ("auto", "off"):
        task = make_task(augment=1.0, augment_noise=True, mixup=0.4, label_smoothing=0.1, input_dropout=0.3, fuse=fuse)
        run_cohort(task, jobs(tmp_path / fuse, [{}], to_epoch=1))
    assert torch.equal(data.train.inputs, before[0].inputs)
    assert torch.equal(data.train.targets, before[0].targets)
    assert torch.equal(data.dev.inputs, before[1])


def test_augmentation_of_a_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"augment is for images .* of shape \(10,\)"):
        make_task(diabetes(), augment=0.5)


def test_label_smoothing_of_a_regression_is_refused() -> None:
    with pytest.raises(DataError, match="label_smoothing is for classification"):
        make_task(diabetes(), label_smoothing=0.1)
