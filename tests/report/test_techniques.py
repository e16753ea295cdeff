"""What a report says of techniques: by how much they help on the dev set, and whether that can be told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.report.simulate import SimulatedStudy
from tuner.diagnose.intervals import Interval
from tuner.paths import StudyPaths
from tuner.records import Json
from tuner.report.analysis import Analysis
from tuner.report.techniques import _judged, techniques_in_words
from tuner.spec.space import Dimension, Space
from tuner.store.study_data import StudyData


def with_passes(mixed: SimulatedStudy, paths: StudyPaths, *, right: float | None, loss: float = 0.5) -> StudyData:
    """A study whose best trial has Monte Carlo predictions that are right for so large a share; as usual if None."""
    best = Analysis(mixed.study, paths).best
    assert best is not None
    own = mixed.predictions[best.number]
    classes = own.shape[1]
    if right is not None:
        said = np.where(np.arange(len(own)) < right * len(own), mixed.targets, (mixed.targets + 1) % classes)
        own = np.eye(classes, dtype=np.float32)[said]
    np.save(paths.trial(best.number).monte_carlo_predictions, own)
    value = float((own.argmax(axis=1) == mixed.targets).mean())
    facts: dict[str, Json] = {
        "monte_carlo": {"passes": 20, "metric": value, "loss": loss, "seconds": 0.5, "seconds_once": 0.025}
    }
    records = [replace(r, facts={**r.facts, **facts}) if r.number == best.number else r for r in mixed.study.records]
    return replace(mixed.study, records=tuple(records))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "said"), [(1.0, "it gains"), (0.5, "it loses"), (None, "whether it gains cannot be told")]
)
def test_monte_carlo_dropout_is_judged_on_the_dev_set(
    mixed: SimulatedStudy, mixed_paths: StudyPaths, right: float | None, said: str
) -> None:
    analysis = Analysis(with_passes(mixed, mixed_paths, right=right), mixed_paths)
    (_, text) = techniques_in_words(analysis)
    assert analysis.passes_gain is not None
    assert text.startswith(f"Monte Carlo dropout: the mean of 20 passes of trial {analysis.passes_gain.trial} ")
    assert f": {said}; loss 0.5 against " in text
    assert text.endswith(" It takes 0.50 s for the dev set, and one pass 0.03 s.")


def test_without_predictions_it_is_not_judged(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    study = with_passes(mixed, mixed_paths, right=1.0)
    (text,) = techniques_in_words(Analysis(study, None))
    assert ", which cannot be told from chance without dev predictions; loss" in text


@pytest.mark.parametrize("facts", [{}, {"monte_carlo": 3}, {"monte_carlo": {"passes": 3}}])
def test_what_was_not_asked_or_is_damaged_is_not_told(mixed: SimulatedStudy, facts: dict[str, Json]) -> None:
    records = tuple(replace(r, facts={**r.facts, **facts}) for r in mixed.study.records)
    assert list(techniques_in_words(Analysis(replace(mixed.study, records=records), None))) == []


def with_augment(mixed: SimulatedStudy, *, on: int, fixed: float | None = None) -> StudyData:
    """A study in which the trials with a number of at least `on` are augmented."""
    sweep = {**mixed.study.facts["sweep"], "training": {"augment": fixed}}
    facts = {**mixed.study.facts, "sweep": sweep}
    if fixed is not None:
        return replace(mixed.study, facts=facts)
    augment = Dimension(name="augment", kind="float", tier=4, default=0.0, low=0.0, high=0.6)
    records = tuple(replace(r, params={**r.params, "augment": 0.3 * (r.number >= on)}) for r in mixed.study.records)
    assert mixed.study.space is not None
    space = Space((*mixed.study.space.dimensions, augment))
    return replace(mixed.study, records=records, facts=facts, space=space)


def test_the_best_trial_with_augmentation_is_held_against_the_best_without(
    mixed: SimulatedStudy, mixed_paths: StudyPaths
) -> None:
    study = with_augment(mixed, on=len(mixed.study.records) // 2)
    analysis = Analysis(study, mixed_paths)
    (_, text) = techniques_in_words(analysis)
    ranked = analysis.statistics.ranked
    first, other = (next(r for r in ranked if (r.params["augment"] > 0) is kind) for kind in (True, False))
    assert text.startswith("Augmentation (augment): the best of ")
    assert f"trial {first.number}, has dev accuracy {first.value:.4f}" in text
    assert f"without, trial {other.number}, {other.value:.4f}, " in text
    assert "95 % interval of the gain" in text
    assert text.endswith("cannot be told.") or text.endswith(" too.")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((), ": it gains"),
        (("dropout",), ": more than chance, which need not be its doing, since they differ in dropout too"),
        (("a", "b", "c", "d"), "since they differ in 4 other hyperparameters too"),
    ],
)
def test_what_differs_in_more_than_a_technique_is_not_its_gain(
    others: tuple[str, ...], said: str, mixed: SimulatedStudy
) -> None:
    assert _judged(0.03, Interval(0.01, 0.05), mixed.study, others=others).endswith(said)
    assert _judged(0.03, Interval(-0.01, 0.05), mixed.study, others=others).endswith("cannot be told")


def test_a_technique_that_all_trials_have_or_none_cannot_be_judged(mixed: SimulatedStudy) -> None:
    for study, why in (
        (with_augment(mixed, on=0), "since every finished trial has it."),
        (with_augment(mixed, on=10_000), "since no finished trial has it."),
        (with_augment(mixed, on=0, fixed=0.5), "since every trial has it, at 0.5; search it from 0 on."),
    ):
        (text,) = techniques_in_words(Analysis(study, None))
        assert text == f"Augmentation (augment): what it gains cannot be told, {why}"
