"""What the winner gets wrong: tables that agree with a count by hand, for each kind of target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tests.report.simulate import SimulatedStudy
from tuner.paths import StudyPaths
from tuner.report.analysis import Analysis
from tuner.report.certainty.mistakes import Mistakes, _with_zeros
from tuner.report.figures.mistakes import (
    calibration,
    confusion,
    precision_recall,
    residuals,
    roc,
    worst_images,
)
from tuner.report.page.html import render_page
from tuner.report.write import write_reports

pytestmark = pytest.mark.slow

YES = np.array([0.9, 0.8, 0.4, 0.3, 0.6, 0.2])
IS_YES = np.array([1, 1, 1, 0, 0, 0])


def of(predictions: NDArray[np.float64], targets: NDArray[np.generic], *names: str, **more: object) -> Mistakes:
    given = {"part": "dev", "trial": 3, "rows": None, "images": None, **more}
    return Mistakes(predictions=predictions, targets=targets, names=names, **given)  # type: ignore[arg-type]


@pytest.fixture
def binary() -> Mistakes:
    return of(np.stack([1 - YES, YES], axis=1), IS_YES, "no", "yes", rows=np.array([12, 10, 7, 5, 3, 1]))


def test_a_binary_answer(binary: Mistakes) -> None:
    assert binary.confusion().to_dict("list") == {"target": ["no", "yes"], "no": [2, 1], "yes": [1, 2]}
    classes = binary.classes().set_index("class")
    assert classes.loc["yes", ["precision", "recall", "f1"]].tolist() == pytest.approx([2 / 3] * 3)
    worst = binary.worst()
    assert worst["row"].tolist()[:2] == [7, 3]  # 0.4 is all the same to both, the first comes first
    assert worst.loc[0, ["target", "prediction"]].tolist() == ["yes", "no"]
    assert worst.loc[0, "loss"] == pytest.approx(-np.log(0.4))
    roc = binary.roc()
    above = YES >= 0.8
    at = roc.iloc[(roc["threshold"] - 0.8).abs().argmin()]
    assert at["true_positive_rate"] == pytest.approx(above[IS_YES == 1].mean())
    assert at["false_positive_rate"] == pytest.approx(above[IS_YES == 0].mean())
    curve = binary.precision_recall()
    assert curve.loc[curve["threshold"] == 0.3, "precision"].tolist() == pytest.approx([3 / 5])


def test_of_an_example_that_folds_repeat_the_worst_prediction_is_shown() -> None:
    found = of(np.stack([1 - YES, YES], axis=1), IS_YES, "no", "yes", examples=np.array([0, 1, 2, 0, 1, 2]))
    assert found.worst()["dev_example"].tolist() == [3, 5, 4]  # of 1 and 4, 2 and 5, 3 and 6


def test_its_probabilities_are_scored_as_by_scikit_learn(binary: Mistakes) -> None:
    from sklearn import metrics

    assert binary.scores() == pytest.approx(
        {
            "loss": metrics.log_loss(IS_YES, YES), "brier": metrics.brier_score_loss(IS_YES, YES),
            "auroc": metrics.roc_auc_score(IS_YES, YES),
            "average_precision": metrics.average_precision_score(IS_YES, YES),
        }
    )  # fmt: skip


def test_a_zero_that_was_rounded_is_one() -> None:
    said = np.array([[10.0, 9.537e-07, 20.0], [5.0, 3.0, 0.0]]).T.astype(np.float32)
    found = of(said + 1.0, _with_zeros(said), "a", "b").classes()
    assert found["mape"].tolist() == pytest.approx([(1 / 10 + 1 / 20) / 2, (1 / 5 + 1 / 3) / 2])


def test_probabilities_are_held_against_shares(binary: Mistakes) -> None:
    sure = np.full(100, 0.75)
    is_so = (np.arange(100) < 75).astype(np.int64)
    honest = of(np.stack([1 - sure, sure], axis=1), is_so, "no", "yes")
    assert honest.calibration_error() == pytest.approx(0.0, abs=1e-9)
    boasting = of(np.stack([1 - sure, sure], axis=1), (np.arange(100) < 50).astype(np.int64), "no", "yes")
    assert boasting.calibration_error() == pytest.approx(0.25)
    table = binary.calibration()
    assert table["examples"].sum() == 6
    assert (table["to"] > table["from"]).all()


def test_several_classes_and_one_that_never_occurs() -> None:
    shares = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
    found = of(shares, np.array([0, 1, 1]), "a", "b", "c")
    assert found.confusion().iloc[:, 1:].to_numpy().tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert np.isnan(found.classes().set_index("class").loc["c", "recall"])
    assert "roc" not in found.tables()
    assert found.worst()["dev_example"].tolist()[0] == 3


@pytest.mark.parametrize("decimals", [1, 6])
def test_tables_of_answers_are_those_of_scikit_learn(decimals: int) -> None:
    from sklearn import metrics

    random = np.random.default_rng(0)
    yes = random.random(200).round(decimals)
    targets = (random.random(200) < 0.3 + 0.4 * yes).astype(np.int64)
    found = of(np.stack([1 - yes, yes], axis=1), targets, "no", "yes")
    said = found.predictions.argmax(axis=1)
    assert (found.confusion().iloc[:, 1:].to_numpy() == metrics.confusion_matrix(targets, said)).all()
    expected = np.array(metrics.precision_recall_fscore_support(targets, said))
    np.testing.assert_allclose(found.classes()[["precision", "recall", "f1", "examples"]].to_numpy().T, expected)
    roc = np.array(metrics.roc_curve(targets, yes))[:, 1:]
    np.testing.assert_allclose(found.roc().to_numpy().T, roc)
    precision, recall, threshold = metrics.precision_recall_curve(targets, yes)
    np.testing.assert_allclose(found.precision_recall().to_numpy().T, [recall[:-1], precision[:-1], threshold])
    numbers = of(random.normal(size=(50, 2)), random.normal(size=(50, 2)), "a", "b")
    expected = metrics.r2_score(numbers.targets, numbers.predictions, multioutput="raw_values")
    np.testing.assert_allclose(numbers.classes()["r2"], expected)


def test_labels() -> None:
    found = of(np.array([[0.9, 0.2], [0.4, 0.7]]), np.array([[1, 1], [0, 0]], dtype=np.uint8), "x", "y")
    assert set(found.tables()) == {"worst", "labels", "calibration"}
    assert found.worst()["wrong_labels"].tolist() == ["y", "y"]
    assert found.classes()["label"].tolist() == ["x", "y"]


def test_numbers() -> None:
    found = of(np.array([[1.0], [2.0], [5.0]]), np.array([[1.0], [3.0], [2.0]]), "price", rows=np.array([4, 5, 6]))
    assert found.residuals()["residual_price"].tolist() == [0.0, -1.0, 3.0]
    assert found.worst()["row"].tolist() == [6, 5, 4]
    errors = found.classes().loc[0]
    assert errors["mae"] == pytest.approx(4 / 3)
    assert errors["mean_residual"] == pytest.approx(2 / 3)


def test_each_kind_is_drawn_as_far_as_it_has_something(binary: Mistakes) -> None:
    for draw in (confusion, roc, precision_recall, calibration):
        assert draw(binary) is not None
    assert worst_images(binary) is None
    assert list(residuals(binary)) == []
    numbers = of(np.zeros((3, 2)), np.ones((3, 2)), "a", "b")
    assert [name for name, _ in residuals(numbers)] == ["a", "b"]
    assert confusion(numbers) is calibration(numbers) is roc(numbers) is precision_recall(numbers) is None
    pictures = replace(binary, images=np.zeros((6, 3, 4, 4), dtype=np.uint8))
    assert worst_images(pictures) is not None


def test_a_report_has_them_as_files_and_in_its_page(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    np.save(mixed_paths.dev_rows, np.arange(len(mixed.targets)) + 1000)
    write_reports(mixed.study, mixed_paths)
    folder = mixed_paths.mistakes / "dev"
    names = ("worst", "confusion", "classes", "calibration")
    assert {path.name for path in folder.iterdir()} == {f"{name}.csv" for name in names}
    analysis = Analysis(mixed.study, mixed_paths)
    (found,) = analysis.mistakes
    assert analysis.best is not None
    assert found.trial == analysis.best.number
    counts = pd.read_csv(folder / "confusion.csv").iloc[:, 1:].to_numpy()
    assert np.trace(counts) / counts.sum() == pytest.approx(analysis.best.value)
    assert (pd.read_csv(folder / "worst.csv")["row"] >= 1000).all()
    assert f"The worst examples: trial {found.trial}, dev set" in render_page(analysis)


def test_without_predictions_there_are_none(mixed: SimulatedStudy, tmp_path: Path) -> None:
    assert Analysis(mixed.study, None).mistakes == ()
    assert Analysis(mixed.study, StudyPaths(tmp_path)).mistakes == ()
