"""The facts of a study that a report needs, typed; a study that plain Optuna made has none of them."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.records import Json, TrialRecord
from tuner.spec.known.metrics import num_train_measured
from tuner.store.study_data import StudyData


def sweep_value(study: StudyData, *keys: str) -> Json:
    """A value of the sweep file, such as `sweep_value(study, "training", "epochs")`; None if it is not there."""
    value: Json = study.facts.get("sweep")
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def data_count(study: StudyData, name: str) -> int | None:
    """One of `num_train`, `num_dev`, `num_test`, `num_outputs`; None if it is not known."""
    data = study.facts.get("data")
    value = data.get(name) if isinstance(data, Mapping) else None
    return value if isinstance(value, int) and value > 0 else None


def fold_scores(record: TrialRecord) -> tuple[float, ...]:
    """The dev metric of each fold of a cross-validated trial that is trained; empty for others."""
    scores = record.facts.get("fold_scores")
    if not isinstance(scores, list | tuple) or not all(isinstance(score, int | float) for score in scores):
        return ()
    return tuple(float(score) for score in scores)


def num_measured(study: StudyData) -> int | None:
    """How many training examples the training metric is measured on."""
    train, dev = data_count(study, "num_train"), data_count(study, "num_dev")
    return None if train is None or dev is None else num_train_measured(train, dev)


def target_error(study: StudyData) -> float | None:
    """The human-level error of the sweep file."""
    value = sweep_value(study, "objective", "target_error")
    return float(value) if isinstance(value, int | float) else None


def sparsity_in_words(record: TrialRecord) -> str | None:
    """What L1 has made zero in the weights of a trial; None where there was no L1, or nothing is zero."""
    share, ignored, inputs = (record.facts.get(k) for k in ("zero_weights", "num_ignored_inputs", "num_inputs"))
    if not isinstance(share, int | float) or not share > 0:
        return None
    text = f"{share:.0%} of the weights of trial {record.number} are zero"
    if not isinstance(ignored, int) or not isinstance(inputs, int):
        return f"{text}."
    names = record.facts.get("ignored_inputs")
    named = [str(name) for name in names] if isinstance(names, list) else []
    shown = f": {', '.join(named)}{', ...' if ignored > len(named) else '.'}" if named else ""
    return f"{text}, and {ignored} of {inputs} inputs are ignored{shown or '.'}"


def full_epochs(study: StudyData) -> int:
    """Epochs of a full training, as the sweep file or the longest trial says."""
    value = sweep_value(study, "training", "epochs")
    return value if isinstance(value, int) else max((r.epochs for r in study.records), default=0)
