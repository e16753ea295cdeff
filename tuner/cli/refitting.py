"""The winner trained again on train and dev together: made once, and found by what exports it or predicts by it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.locate import Location
from tuner.errors import StorageError, TunerError
from tuner.records import PHASES

if TYPE_CHECKING:
    from tuner.records import DataInfo, Json, TrialRecord
    from tuner.spec.model import SweepSpec
    from tuner.store.study_data import StudyData


@dataclass(frozen=True, slots=True)
class Refit:
    """A training on train and dev together."""

    weights: Path
    info: DataInfo
    epochs: int

    def in_words(self, data: StudyData, record: TrialRecord) -> str:
        """What its weights were trained on, and which score is theirs: none."""
        from tuner.report.words.numbers import metric_text

        return (
            f"trained again on train + dev, {self.info.num_train} examples, for {self.epochs} "
            f"epoch{'s' * (self.epochs != 1)}; no examples are left to score these weights: dev {data.metric} "
            f"{metric_text(record.value, metric=data.metric)} is that of trial {record.number} as it was, trained on "
            "train alone"
        )


def stored_refit(data: StudyData, record: TrialRecord, location: Location, *, trial: int | None) -> Refit:
    """The training on train and dev that a study keeps, if it is of this trial; `trial` is the number if one was typed.

    Raises:
        TunerError: there is none, or it is of another trial.
    """
    from tuner.cli.command_line import study_command

    how = study_command("best", location, "--refit", *(["--trial", str(trial)] if trial is not None else []))
    found = _read(location)
    if found is None:
        raise TunerError(f"nothing of {data.name} has been trained on train and dev yet; that does: {how}")
    if found["of"] != _identity(data, record):
        raise TunerError(
            f"what was trained on train and dev is trial {found['of'].get('trial')} of {data.name} as it was then, not "
            f"trial {record.number}; that trains this one: {how}"
        )
    return _refit_of(found, location)


def make_refit(
    spec: SweepSpec, data: StudyData, record: TrialRecord, location: Location, *, device: str | None
) -> Refit:
    """Train a trial's configuration on train and dev, unless that has been done.

    Raises:
        TunerError: the training failed.
        StudyMismatchError: the data are not those that the study was trained on.
    """
    from tuner.execute.devices import worker_places
    from tuner.execute.refit import refit
    from tuner.report.files import write_atomically

    found = _read(location)
    if found is not None and found["of"] == _identity(data, record):
        return _refit_of(found, location)
    paths = location.paths
    paths.refit_facts.unlink(missing_ok=True)
    assert record.best is not None
    place = worker_places([device] if device else [], workers=1)[0]
    seed, epochs = record.seed or 0, record.best.epoch
    click.echo(f"training trial {record.number} again on train + dev, for {epochs} epochs", err=True)
    info = refit(
        spec, place, paths.refit.folder, record.params,
        seed=seed, epochs=epochs, phases=record.phases, known=data.facts["data"],
    )  # fmt: skip
    facts = {"of": _identity(data, record), "epochs": epochs, "data": asdict(info)}
    write_atomically(paths.refit_facts, json.dumps(facts, indent=1))
    return Refit(paths.refit.weights, info, epochs)


def _identity(data: StudyData, record: TrialRecord) -> dict[str, Json]:
    """What tells a trial from any that may have its number in another study of the name."""
    known = data.facts.get("data") or {}
    return {
        "trial": record.number,
        "seed": record.seed,
        "params": dict(record.params),
        **({PHASES: record.facts[PHASES]} if PHASES in record.facts else {}),
        "started": record.started,
        "data": known.get("sha256"),
    }


def _read(location: Location) -> dict[str, Json] | None:
    path = location.paths.refit_facts
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(found["of"], dict) and isinstance(found["data"], dict) and found["epochs"] >= 1
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    if not whole or not location.paths.refit.weights.is_file():
        raise _damaged(path)
    assert isinstance(found, dict)
    return found


def _damaged(path: Path) -> StorageError:
    return StorageError(f"{path} is damaged; remove the folder {path.parent}, and train on train and dev again")


def _refit_of(found: dict[str, Json], location: Location) -> Refit:
    from tuner.store.weights import data_info_of

    return Refit(location.paths.refit.weights, data_info_of(found["data"]), int(found["epochs"]))
