"""What a network gets wrong, example by example and class by class, from its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tuner.paths import StudyPaths
from tuner.records import TrialRecord
from tuner.report.certainty.dev_scores import dev_examples, load_array
from tuner.report.certainty.resampling import resampled_metric
from tuner.report.certainty.tested import stored_tests
from tuner.report.certainty.weighted import Array, example_losses
from tuner.store.study_data import StudyData
from tuner.train.measure.scoring import ZERO

_Part = Literal["dev", "test"]
PARTS: tuple[_Part, ...] = get_args(_Part)

_BINS = 10
"""Of a calibration, equally wide."""
_MOST_POINTS = 500
"""Of a curve."""
_WORST = 50
"""Examples that are listed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mistakes:
    """One network's predictions of a set of examples, beside what was to be predicted."""

    part: _Part
    trial: int
    predictions: Array
    """Probabilities of classes or labels, or predicted numbers, shape (n, outputs)."""
    targets: NDArray[np.generic]
    """Classes (n,), labels (n, outputs) as uint8, or numbers (n, outputs)."""
    names: tuple[str, ...]
    """Of the outputs."""
    rows: NDArray[np.generic] | None
    """Where each example was read, from 1; None where that is not known."""
    images: NDArray[np.generic] | None
    """Bytes of shape (n, channels, height, width), for images."""
    examples: NDArray[np.generic] | None = None
    """Which example each of these is of, where folds are repeated: there it is once a repeat."""

    @property
    def is_classes(self) -> bool:
        return self.targets.ndim == 1 and self.targets.dtype.kind in "iu"

    @property
    def is_labels(self) -> bool:
        return self.targets.ndim == 2 and self.targets.dtype.kind in "bu"

    @property
    def is_binary(self) -> bool:
        return self.is_classes and self.predictions.shape[1] == 2

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables, by the names of their files."""
        found = {"worst": self.worst()}
        if self.is_classes:
            found |= {"confusion": self.confusion(), "classes": self.classes(), "calibration": self.calibration()}
        elif self.is_labels:
            found |= {"labels": self.classes(), "calibration": self.calibration()}
        else:
            found |= {"targets": self.classes(), "residuals": self.residuals()}
        if self.is_binary:
            found |= {"roc": self.roc(), "precision_recall": self.precision_recall()}
        return found

    def confusion(self) -> pd.DataFrame:
        """How often each class (rows) is taken for each (columns)."""
        counts = np.zeros((len(self.names), len(self.names)), dtype=np.int64)
        np.add.at(counts, (self.targets.astype(np.intp), self.predictions.argmax(axis=1)), 1)
        return pd.DataFrame(counts, columns=list(self.names)).assign(target=list(self.names))[["target", *self.names]]

    def classes(self) -> pd.DataFrame:
        """Of each class or label precision, recall and F1; of each number its errors."""
        if not (self.is_classes or self.is_labels):
            truth = np.asarray(self.targets, dtype=np.float64).reshape(len(self.targets), -1)
            residuals, apart = self.predictions - truth, truth - truth.mean(axis=0)
            squares, total = (residuals**2).mean(axis=0), (apart**2).mean(axis=0)
            return pd.DataFrame(
                {
                    "target": list(self.names),
                    "rmse": np.sqrt(squares),
                    "mae": np.abs(residuals).mean(axis=0),
                    "r2": 1 - _share(squares, total),
                    "mean_residual": residuals.mean(axis=0),
                    "mape": _mean_of_known(_share(np.abs(residuals), np.abs(truth))),
                }
            )
        labels = np.arange(len(self.names))
        if self.is_classes:
            is_there, is_said = (a[:, None] == labels for a in (self.targets, self.predictions.argmax(axis=1)))
        else:
            is_there, is_said = np.asarray(self.targets) > 0, self.predictions > 0.5
        examples, said, both = (a.sum(axis=0) for a in (is_there, is_said, is_there & is_said))
        shown = {"class" if self.is_classes else "label": list(self.names), "examples": examples}
        scores = {"precision": said, "recall": examples, "f1": (said + examples) / 2}
        return pd.DataFrame(shown | {name: _share(both, of) for name, of in scores.items()})

    def roc(self) -> pd.DataFrame:
        """False against true positives of the second class, at each threshold where the curve turns."""
        threshold, true, false = self._hits_at_thresholds()
        bends = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
        turns = np.array([True, *bends, True])[: len(true)]
        rates = {"false_positive_rate": _share(false, false[-1]), "true_positive_rate": _share(true, true[-1])}
        return _thinned({name: values[turns] for name, values in (rates | {"threshold": threshold}).items()})

    def precision_recall(self) -> pd.DataFrame:
        """Precision against recall of the second class, at each threshold."""
        threshold, true, false = (values[::-1] for values in self._hits_at_thresholds())
        return _thinned({"recall": _share(true, true[0]), "precision": true / (true + false), "threshold": threshold})

    def _hits_at_thresholds(self) -> tuple[Array, Array, Array]:
        """Each probability of the second class, the largest first, and how many of each class have that or a larger."""
        threshold, place = np.unique(self.predictions[:, 1], return_inverse=True)
        counts = np.zeros((2, len(threshold)))
        np.add.at(counts, (np.asarray(self.targets, dtype=np.intp), place), 1.0)
        false, true = np.cumsum(counts[:, ::-1], axis=1)
        return threshold[::-1], true, false

    def calibration(self) -> pd.DataFrame:
        """How often an answer of such a probability is right, in equally wide bins.

        Of two classes the probability is that of the second one, of more the one of the answer, of labels each one's.
        """
        if self.is_binary:
            sure, right = self.predictions[:, 1], np.asarray(self.targets) == 1
        elif self.is_classes:
            sure, right = self.predictions.max(axis=1), self.predictions.argmax(axis=1) == self.targets
        else:
            sure, right = self.predictions.ravel(), np.asarray(self.targets).ravel() > 0
        bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
        counts, total = (np.bincount(bins, weights=w, minlength=_BINS) for w in (np.ones(len(sure)), sure))
        hits = np.bincount(bins, weights=right.astype(float), minlength=_BINS)
        there = counts > 0
        edges = np.arange(_BINS + 1) / _BINS
        return pd.DataFrame(
            {
                "from": edges[:-1][there], "to": edges[1:][there], "examples": counts[there].astype(int),
                "probability": total[there] / counts[there], "share_right": hits[there] / counts[there],
            }
        )  # fmt: skip

    def calibration_error(self) -> float:
        """The expected calibration error: by how much probabilities and shares differ, averaged over examples."""
        table = self.calibration()
        apart = (table["probability"] - table["share_right"]).abs()
        return float((apart * table["examples"]).sum() / table["examples"].sum())

    def scores(self) -> dict[str, float]:
        """What the usual measures of probabilities say, whichever trials are ranked by; NaN where one cannot."""
        if not self.is_classes:
            return {}
        names = ("loss", "brier", "auroc", "average_precision") if self.is_binary else ("loss", "brier", "auroc")
        once = np.ones((1, len(self.targets)))
        return {name: float(resampled_metric(name, self.predictions, self.targets, once)[0]) for name in names}

    def residuals(self) -> pd.DataFrame:
        """Of each example its targets, predictions and residuals, prediction less target."""
        truth = np.asarray(self.targets, dtype=np.float64).reshape(len(self.targets), -1)
        return self._with_rows(np.arange(len(truth)), self._told(truth, np.arange(len(truth))))

    def worst(self) -> pd.DataFrame:
        """The examples of the largest loss, the worst first."""
        order = self.worst_first()[:_WORST]
        losses = example_losses(self.predictions, self.targets)
        if self.is_classes:
            truth, said = (np.asarray(a)[order].astype(int) for a in (self.targets, self.predictions.argmax(axis=1)))
            told: dict[str, object] = {
                "target": [self.names[c] for c in truth], "prediction": [self.names[c] for c in said],
                "probability_of_target": self.predictions[order, truth],
                "probability_of_prediction": self.predictions[order, said],
            }  # fmt: skip
        elif self.is_labels:
            wrong = (self.predictions > 0.5) != (np.asarray(self.targets) > 0)
            told = {
                "wrong_labels": [", ".join(n for n, w in zip(self.names, wrong[i], strict=True) if w) for i in order]
            }
        else:
            truth = np.asarray(self.targets, dtype=np.float64).reshape(len(self.targets), -1)
            return self._with_rows(order, self._told(truth, order))
        return self._with_rows(order, {**told, "loss": losses[order]})

    def worst_first(self) -> NDArray[np.intp]:
        """Positions of the examples by their loss, as `example_losses` has it."""
        order = np.argsort(-example_losses(self.predictions, self.targets), kind="stable")
        if self.examples is None:
            return order
        first = np.sort(np.unique(self.examples[order], return_index=True)[1])  # where each example is worst
        return np.asarray(order[first])

    def _told(self, truth: Array, order: NDArray[np.intp]) -> dict[str, object]:
        told: dict[str, object] = {}
        for column, name in enumerate(self.names):
            said, right = self.predictions[order, column], truth[order, column]
            told |= {name: right, f"predicted_{name}": said, f"residual_{name}": said - right}
        return told

    def _with_rows(self, order: NDArray[np.intp], told: Mapping[str, object]) -> pd.DataFrame:
        number = order + 1 if self.rows is None else np.asarray(self.rows)[order]
        return pd.DataFrame({f"{self.part}_example" if self.rows is None else "row": number, **told})


def _mean_of_known(values: Array) -> Array:
    """The mean of each column without its NaNs; NaN where there is nothing else."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


def _share(part: Array, of: Array) -> Array:
    """A quotient; NaN where there is nothing to divide by."""
    quotient = np.full(np.broadcast(part, of).shape, np.nan)
    np.divide(part, of, out=quotient, where=np.asarray(of) > 0)
    return quotient


def _thinned(columns: dict[str, Array]) -> pd.DataFrame:
    """The points of a curve, of very many some."""
    known = np.flatnonzero(np.isfinite(columns["threshold"]))
    chosen = np.unique(np.linspace(0, len(known) - 1, min(len(known), _MOST_POINTS)).astype(int))
    return pd.DataFrame({name: values[known[chosen]] for name, values in columns.items()})


def mistakes_on(part: _Part, study: StudyData, paths: StudyPaths | None, best: TrialRecord | None) -> Mistakes | None:
    """What the final choice gets wrong on a part; None where its predictions are not there."""
    if paths is None:
        return None
    if part == "dev":
        if best is None:
            return None
        trial, place = best.number, paths.trial(best.number).predictions
        files = (paths.dev_targets, paths.dev_rows, paths.dev_images)
    else:
        tests = stored_tests(study)
        if not tests or type(tests[-1].get("trial")) is not int:
            return None
        trial, place = tests[-1]["trial"], paths.tested("predictions")
        files = (paths.tested("targets"), paths.tested("rows"), paths.tested("images"))
    predictions, (targets, rows, images) = load_array(place), map(load_array, files)
    if predictions is None or targets is None or len(predictions) != len(targets) or not len(targets):
        return None
    values = np.asarray(predictions, dtype=np.float64).reshape(len(targets), -1)
    names = _names(study, targets, values.shape[1])
    if not np.isfinite(values).all() or (targets.ndim == 1 and int(np.max(targets)) >= values.shape[1]):
        return None
    if targets.dtype.kind == "f":
        targets = _with_zeros(targets)
    return Mistakes(
        part=part, trial=trial, predictions=values, targets=targets, names=names,
        rows=rows if rows is not None and rows.shape == targets.shape[:1] else None,
        examples=dev_examples(paths, targets) if part == "dev" else None,
        images=_as_images(study, images, len(targets)),
    )  # fmt: skip


def _with_zeros(targets: NDArray[np.generic]) -> NDArray[np.generic]:
    """Numbers, of which a zero was rounded on its way from standardised targets."""
    size = np.abs(targets)
    return np.where(size <= ZERO * size.mean(axis=0), 0.0, targets)


def _names(study: StudyData, targets: NDArray[np.generic], count: int) -> tuple[str, ...]:
    data = study.facts.get("data") or {}
    names = data.get("target_names" if targets.dtype.kind == "f" else "class_names") or []
    return tuple(names) if len(set(names)) == len(names) == count else tuple(f"output {i}" for i in range(count))


def _as_images(study: StudyData, pixels: NDArray[np.generic] | None, count: int) -> NDArray[np.generic] | None:
    shape = (study.facts.get("data") or {}).get("input_shape") or []
    if pixels is None or len(shape) != 3 or pixels.shape != (count, int(np.prod(shape))):
        return None
    return pixels.reshape(count, *shape)
