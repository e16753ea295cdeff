"""What a report says of techniques: by how much they help on the dev set, and whether that can be told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.report.simulate import SimulatedStudy
from tuner.paths import StudyPaths
from tuner.records import Json
from tuner.report.analysis import Analysis
from tuner.report.techniques import techniques_in_words
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
    (text,) = techniques_in_words(analysis)
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
