from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.depth import but_deep
from tests.report.simulate import SimulatedStudy, simulate
from tuner.paths import StudyPaths
from tuner.records import Direction, TrialState
from tuner.report.certainty.finalists import finals
from tuner.report.certainty.overstatement import expected_overstatement, fold_noise, own_noise
from tuner.report.certainty.resampling import resample_weights
from tuner.report.certainty.statistics import study_statistics
from tuner.report.certainty.ties import tie_group, unpaired_tie_group
from tuner.report.certainty.weighted import Array
from tuner.store.study_data import StudyData

WEIGHTS = resample_weights(360, resamples=400)[1:] / 360


def paired(study: SimulatedStudy) -> tuple[Array, Array]:
    """Accuracy of each trial, and on resamples of the dev set."""
    right = np.stack([study.predictions[i].argmax(axis=1) == study.targets for i in study.predictions])
    return right.mean(axis=1), WEIGHTS @ right.T.astype(np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("spread", but_deep([0.0, 0.03, 0.12], 0.0, 0.12))
def test_tie_groups_contain_the_truly_best_trial(spread: float) -> None:
    held = []
    for seed in range(60):
        study = simulate(trials=30, seed=seed, spread=spread)
        held.append(tie_group(*paired(study))[max(study.truth, key=study.truth.__getitem__)])
    assert np.mean(held) >= 0.95


@pytest.mark.slow
def test_tie_groups_leave_clearly_worse_trials_out() -> None:
    sizes = [tie_group(*paired(simulate(trials=30, seed=s, spread=0.3))).mean() for s in range(10)]
    assert np.mean(sizes) < 0.5


def test_identical_networks_tie_and_one_that_dominates_does_not() -> None:
    samples = np.repeat(np.random.default_rng(0).normal(0.9, 0.01, size=(200, 1)), 3, axis=1)
    assert tie_group(np.array([0.9, 0.9, 0.9]), samples).all()
    assert tie_group(np.array([0.95, 0.9, 0.9]), samples + np.array([0.05, 0, 0])).tolist() == [True, False, False]


def test_without_predictions_a_lead_beyond_the_luck_of_two_dev_sets_tells_networks_apart() -> None:
    values, sd = np.array([0.9, 0.88, 0.86, 0.5]), np.full(4, 0.01)  # of three leads, one within 0.030 is luck
    assert unpaired_tie_group(values, sd).tolist() == [True, True, False, False]


@pytest.mark.slow
def test_without_predictions_the_group_is_wider() -> None:
    wider = 0
    for seed in range(10):
        values, samples = paired(simulate(trials=30, seed=seed, spread=0.2, correlation=0.9))
        sd = np.sqrt(values * (1 - values) / 360)
        wider += unpaired_tie_group(values, sd).sum() >= tie_group(values, samples).sum()
    assert wider >= 9


@pytest.mark.parametrize(("trials", "spread", "folds"), [(20, 0.02, 5), (60, 0.0, 5), (60, 0.02, 10)])
def test_the_overstatement_of_a_cross_validated_winner_counts_the_luck_of_its_trainings(
    trials: int, spread: float, folds: int
) -> None:
    """What nested cross-validation would show; resamples of the dev examples alone know a part of the luck."""
    estimates, of_examples, truths = [], [], []
    example_sd, training_sd = 0.006, 0.01  # of the mean over folds
    for seed in range(60):
        draw = np.random.default_rng(seed)
        truth = 0.9 - spread * draw.random(trials)
        luck = np.sqrt(folds) * np.hypot(example_sd, training_sd) * draw.standard_normal((trials, folds))
        scores = truth[:, None] + luck + 0.02 * draw.standard_normal(folds)  # some folds are easier, to all alike
        scores -= scores.mean() - truth.mean()
        values = scores.mean(axis=1)
        order = np.argsort(-values)
        samples = values[order] + example_sd * draw.standard_normal((300, trials))
        of_examples.append(expected_overstatement(values[order], samples))
        known = fold_noise(scores[order[:20]])
        estimates.append(expected_overstatement(values[order], samples, least_noise=known))
        truths.append(values[order[0]] - truth[order[0]])
    assert np.mean(estimates) == pytest.approx(np.mean(truths), rel=0.25)
    assert np.mean(of_examples) < 0.75 * np.mean(truths)


def test_repeats_average_the_luck_of_trainings_and_not_that_of_the_examples() -> None:
    draw = np.random.default_rng(0)
    trials, repeats, folds = 3000, 4, 5
    of_examples = 0.03 * draw.standard_normal((trials, folds)).mean(axis=1)  # the same examples in each repeat
    within = 0.03 * draw.standard_normal((trials, repeats, folds))  # which of them are in which fold
    within -= within.mean(axis=2, keepdims=True)
    of_trainings = 0.02 * draw.standard_normal((trials, repeats, folds))
    easy = 0.05 * draw.standard_normal((repeats, folds))
    scores = 0.9 + of_examples[:, None, None] + within + of_trainings + easy
    truth = float(np.hypot(0.03 / np.sqrt(folds), 0.02 / np.sqrt(folds * repeats)))
    assert fold_noise(scores.reshape(trials, -1), repeats=repeats) == pytest.approx(truth, rel=0.05)
    assert scores.mean(axis=(1, 2)).std() == pytest.approx(truth, rel=0.05)
    assert fold_noise(scores.reshape(trials, -1)) < 0.75 * truth  # as if each repeat had examples of its own


def test_the_luck_of_folds_is_what_neither_trial_nor_fold_explains() -> None:
    assert fold_noise(np.array([[0.9, 0.8, 0.7], [0.8, 0.7, 0.6]])) == pytest.approx(0.0, abs=1e-12)
    draw = np.random.default_rng(0)
    assert fold_noise(0.01 * draw.standard_normal((2000, 5))) == pytest.approx(0.01 / np.sqrt(5), rel=0.05)
    assert fold_noise(np.empty((1, 0))) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trials", "spread"),
    but_deep([(20, 0.06), (60, 0.0), (60, 0.06), (60, 0.2)], (60, 0.0), (60, 0.06), (60, 0.2)),
)
def test_the_estimated_overstatement_is_within_a_quarter_of_the_truth_on_average(trials: int, spread: float) -> None:
    estimates, truths = [], []
    for seed in range(150):
        study = simulate(trials=trials, seed=seed, spread=spread)
        values, samples = paired(study)
        order = np.argsort(-values)
        estimates.append(expected_overstatement(values[order], samples[:, order]))
        truths.append(values[order[0]] - study.truth[int(order[0])])
    assert np.mean(estimates) == pytest.approx(np.mean(truths), rel=0.25)


@pytest.mark.deep
@pytest.mark.slow
def test_finalists_measure_the_luck_of_the_best_score_within_a_quarter_of_the_truth() -> None:
    estimates, truths = [], []
    for seed in range(150):
        study = simulate(trials=40, seed=seed, finalists=5, repeats=3)
        decided = finals(study.study)
        assert decided is not None
        best = max(decided.finalists, key=lambda f: f.search_value)
        estimates.append(decided.overstatement)
        truths.append(best.search_value - study.expected[best.record.number])
    assert np.mean(estimates) == pytest.approx(np.mean(truths), rel=0.25)


@pytest.mark.slow
def test_seed_intervals_of_finalists_cover_their_configurations_mean() -> None:
    covered = []
    for seed in range(100):
        study = simulate(trials=20, seed=seed, finalists=4, repeats=3, correlation=0.0, seed_sd=0.01)
        decided = finals(study.study)
        assert decided is not None
        covered += [study.expected[f.record.number] in f.interval for f in decided.finalists if f.interval]
    assert 0.92 <= np.mean(covered) <= 0.98


def test_finals_choose_the_smallest_within_one_standard_error() -> None:
    decided = finals(simulate(trials=40, seed=1, finalists=5).study)
    assert decided is not None
    assert [f.mean for f in decided.finalists] == sorted((f.mean for f in decided.finalists), reverse=True)
    assert decided.finalists[0].tied
    assert decided.winner.tied
    assert decided.seed_sd is not None
    near = [f for f in decided.finalists if decided.finalists[0].mean - f.mean <= decided.seed_sd * (2 / 3) ** 0.5]
    assert decided.winner.record.num_parameters == min(f.record.num_parameters for f in near)


def test_one_seed_gives_a_mean_but_no_interval() -> None:
    decided = finals(simulate(trials=20, seed=1, finalists=3, repeats=1).study)
    assert decided is not None
    assert decided.seed_sd is None
    assert all(f.interval is None for f in decided.finalists)


def test_finalists_that_failed_or_repeat_nothing_known_are_left_out() -> None:
    study = simulate(trials=20, seed=1, finalists=2).study
    orphan = replace(study.finalists[0], facts={"repeat_of": 999})
    failed = replace(study.finalists[1], best=None, last=None)
    assert finals(replace(study, finalists=(orphan, failed))) is None


def test_statistics_of_a_study_on_disk(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    found = study_statistics(mixed.study, mixed_paths)
    assert found.basis == "paired"
    assert found.best is not None
    assert found.best.number in found.ties
    assert set(found.intervals) == {r.number for r in mixed.study.records if r.value is not None}
    assert all(r.value in found.intervals[r.number] for r in found.ranked)
    assert found.smallest is not None
    assert found.smallest.num_parameters <= found.best.num_parameters
    assert found.overstatement is not None
    assert 0 < found.overstatement < 0.05


def test_without_files_the_size_of_the_dev_set_serves(mixed: SimulatedStudy, tmp_path: Path) -> None:
    for paths in (None, StudyPaths(tmp_path)):
        found = study_statistics(mixed.study, paths)
        assert found.basis == "unpaired"
        assert found.overstatement is None
        assert len(found.ties) > 1


def test_a_study_of_plain_optuna_has_a_ranking_and_no_more() -> None:
    study = replace(simulate(trials=10, seed=0).study, metric="value", facts={}, space=None)
    found = study_statistics(study, None)
    assert (found.basis, found.intervals, found.ties) == ("none", {}, frozenset())
    assert len(found.ranked) == 10


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["empty", "cut", "shape", "pickle"])
def test_damaged_predictions_are_left_out(mixed: SimulatedStudy, mixed_paths: StudyPaths, damage: str) -> None:
    found = study_statistics(mixed.study, mixed_paths)
    victim = mixed_paths.trial(found.ranked[1].number).predictions
    match damage:
        case "empty":
            victim.write_bytes(b"")
        case "cut":
            victim.write_bytes(victim.read_bytes()[:-10])
        case "shape":
            np.save(victim, np.ones((7, 4), dtype=np.float32))
        case "pickle":
            np.save(victim, np.array([{"a": 1}], dtype=object))
    again = study_statistics(mixed.study, mixed_paths)
    assert again.basis == "paired"
    assert found.ranked[1].number in again.intervals


def test_smaller_is_better_mirrors_the_statistics(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    """The error of each network, minimised, has the ties of its accuracy, maximised."""
    errors = tuple(
        replace(r, best=replace(r.best, dev_metric=1 - r.best.dev_metric) if r.best else None)
        for r in mixed.study.records
    )
    mirrored = replace(mixed.study, direction=Direction.MINIMIZE, records=errors)
    straight = study_statistics(mixed.study, None)
    assert [r.number for r in study_statistics(mirrored, None).ranked] == [r.number for r in straight.ranked]


@pytest.mark.parametrize(("freedom", "few"), [(1.5, True), (100.0, False)])
def test_an_error_that_rests_on_a_few_examples_says_so(freedom: float, few: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    study = simulate(trials=3, seed=0).study
    paths = StudyPaths(tmp_path / "s")
    targets = rng.standard_t(freedom, size=(360, 1))
    paths.folder.mkdir()
    np.save(paths.dev_targets, targets)
    for record in study.records:
        paths.trial(record.number).folder.mkdir(parents=True)
        np.save(paths.trial(record.number).predictions, np.zeros((360, 1)))
    found = study_statistics(replace(study, metric="rmse", direction=Direction.MINIMIZE), paths)
    assert (found.rests_on_few is not None) == few


def on_disk(
    study: StudyData, folder: Path, *, targets: Array, predictions: Sequence[Array], values: Sequence[float]
) -> tuple[StudyData, StudyPaths]:
    """The study's first trials with these values, of which the first ones have predictions."""
    paths = StudyPaths(folder / "s")
    paths.folder.mkdir()
    np.save(paths.dev_targets, targets)
    for number, predicted in enumerate(predictions):
        paths.trial(number).folder.mkdir(parents=True)
        np.save(paths.trial(number).predictions, predicted)
    records = [
        replace(r, best=replace(r.best, dev_metric=value), num_parameters=1000 - r.number)
        for r, value in zip(study.records, values, strict=False)
        if r.best is not None
    ]
    return replace(study, records=tuple(records)), paths


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_the_smallest_network_is_the_same_in_every_unit_of_the_target(unit: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    targets = unit * rng.standard_normal((360, 1))
    predictions = [targets + unit * rng.standard_normal((360, 1)) for _ in range(3)]
    study = replace(simulate(trials=3, seed=0).study, metric="rmse", direction=Direction.MINIMIZE)
    values = [1.0 * unit, 1.02 * unit, 1.3 * unit]  # a lead has a standard error of 0.05
    found = study_statistics(*on_disk(study, tmp_path, targets=targets, predictions=predictions, values=values))
    assert found.smallest is not None
    assert found.smallest.number == 1


def test_each_network_with_predictions_has_an_interval_of_its_own_and_one_without_a_value_has_none(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((360, 1))
    predictions = [targets + sd * rng.standard_normal((360, 1)) for sd in (1.0, 1.3, 3.0)]
    simulated = replace(simulate(trials=6, seed=0).study, metric="rmse", direction=Direction.MINIMIZE)
    study, paths = on_disk(
        simulated, tmp_path, targets=targets, predictions=predictions, values=[1.0, 1.3, 3.0, 1.5, float("nan"), 1.0]
    )
    *valued, last = study.records
    study = replace(study, records=(*valued, replace(last, state=TrialState.FAILED, best=None, last=None)))
    found = study_statistics(study, paths)
    assert found.scores is not None
    assert set(found.intervals) == {0, 1, 2, 3}
    assert [found.intervals[n] for n in range(3)] == [found.scores.interval(n) for n in range(3)]
    widths = [found.intervals[n].half_width for n in range(4)]
    assert widths[0] < widths[1] < widths[2]
    assert widths[3] == pytest.approx(widths[1])  # as wide as the middle one of the others


def test_a_trial_without_predictions_ties_by_the_usual_noise_of_a_lead_and_one_with_them_by_them(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=360)
    best = np.arange(360) < 300
    below = best & (np.arange(360) >= 12)  # makes all mistakes of the best, and a dozen more
    other = rng.permutation(np.arange(360) < 299)
    predictions = [np.eye(2, dtype=np.float32)[np.where(right, targets, 1 - targets)] for right in (best, below, other)]
    study = simulate(trials=4, seed=0).study

    def ties(lead: float, name: str) -> tuple[frozenset[int], float]:
        (tmp_path / name).mkdir()
        values = [300 / 360, 288 / 360, 299 / 360, 300 / 360 - lead]
        found = study_statistics(
            *on_disk(study, tmp_path / name, targets=targets, predictions=predictions, values=values)
        )
        assert found.noise_sd is not None
        return found.ties, found.noise_sd

    tied, noise = ties(0.001, "close")
    assert tied == {0, 2, 3}
    for factor, may_be_best in ((2.05, True), (2.2, False)):  # one in sixty of three normal leads is above 2.13
        assert (3 in ties(factor * 2**0.5 * noise, str(factor))[0]) is may_be_best


def test_the_noise_of_the_best_is_not_that_of_trials_which_lie_clearly_below_them() -> None:
    sd, loud = 0.01, 0.1
    values = np.array([0.9] * 10 + [0.9 - 4.5 * sd] * 10)
    samples = values + np.random.default_rng(0).standard_normal((4000, 20)) * np.array([sd] * 10 + [loud] * 10)
    assert own_noise(values, samples) == pytest.approx(sd, rel=0.05)
    near = np.array([0.9] * 10 + [0.9 - 3.5 * sd] * 10)
    assert own_noise(near, samples) > 2 * sd


def test_a_metric_of_the_users_has_intervals_and_ties_from_what_training_resampled(tmp_path: Path) -> None:
    simulated = simulate(trials=6, seed=3)
    study = replace(simulated.study, metric="top_two")
    paths = StudyPaths(tmp_path / "s")
    simulated.write_files(paths)
    assert study_statistics(study, paths).basis == "none"
    draw = np.random.default_rng(0).integers(len(simulated.targets), size=(60, len(simulated.targets)))
    for number, record in enumerate(study.records):
        right = (simulated.predictions[number].argmax(axis=1) == simulated.targets).astype(float)
        samples = right[draw[: 60 - number]].mean(axis=1)  # of some there was more time
        np.save(paths.trial(number).samples, np.array([right.mean(), *samples]))
        assert record.value == pytest.approx(right.mean())
    own, usual = study_statistics(study, paths), study_statistics(simulated.study, paths)
    assert own.basis == "paired"
    assert own.best is not None
    assert own.best.number in own.ties
    half = own.intervals[own.best.number].half_width
    assert half == pytest.approx(usual.intervals[own.best.number].half_width, rel=0.5)
    for useless in (np.zeros(61), np.full(61, own.best.value)):  # not of this value; without a mistake in any resample
        np.save(paths.trial(own.best.number).samples, useless)
        without = study_statistics(study, paths)
        assert without.basis == "none"
        assert without.scores is not None
        assert own.best.number not in without.scores.trials
