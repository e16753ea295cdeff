"""The winner of a study: its configuration, its weights, and what trains it over again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from tuner.paths import StudyPaths, beside, own_place
from tuner.records import Json, ParamValue, TrialRecord, phases_as_fact
from tuner.report.certainty.choice import final_choice
from tuner.report.files import write_atomically
from tuner.report.space import completed, study_space
from tuner.report.words.escape import visible
from tuner.spec.edit.moving import move_paths, stated_sweep
from tuner.spec.known.hyperparameters import hyperparameters_of
from tuner.spec.known.networks import MODEL
from tuner.spec.space import REGULARISATION_TIER
from tuner.spec.text.dump import to_yaml
from tuner.store.study_data import StudyData

_NAME_LENGTH = 100
"""Of a study, at most."""


def best_params(study: StudyData, record: TrialRecord) -> dict[str, ParamValue]:
    """A trial's hyperparameters, in tier order."""
    return completed(study_space(study), record.params)


def write_best(study: StudyData, paths: StudyPaths) -> None:
    """Write `best/`: params.yaml, sweep.yaml (trains the winner again), weights.pt and predict.py.

    Does nothing while no trial has finished. The weights and predict.py are left out where a study has none.
    """
    choice = final_choice(study)
    if choice is None:
        return
    record = choice.record
    heading = f"Trial {record.number} of study {visible(study.name)}: {choice.why}."
    write_atomically(paths.best / "params.yaml", to_yaml(best_params(study, record), heading=heading))
    sweep = one_trial_sweep(study, record, folder=paths.best)
    if sweep is not None:
        heading += (
            "\nTrains that trial again: same configuration, same seed, and on the same machine the same dev score."
        )
        write_atomically(paths.best / "sweep.yaml", to_yaml(sweep, heading=heading))
    if _copy(paths.trial(record.number).weights, paths.best / "weights.pt") and sweep is not None:
        data = study.facts.get("data")
        hashes = {key: str(data[key]) for key in ("sha256",) if data.get(key)} if isinstance(data, Mapping) else {}
        write_atomically(paths.best / "predict.py", _PREDICT.replace("KNOWN = {}", f"KNOWN = {hashes!r}"))


def one_trial_sweep(study: StudyData, record: TrialRecord, *, folder: Path) -> dict[str, Json] | None:
    """A sweep file of a single trial: this one, with its own seed.

    Args:
        study: The study, whose fact `sweep` holds the sweep file's values.
        record: The trial.
        folder: Where the file will lie; paths in it are made relative to it.

    Returns:
        None for a study that has no sweep file.
    """
    sweep = study.facts.get("sweep")
    if not isinstance(sweep, Mapping):
        return None
    hidden = ("finalists", "space", "search", "study", "answer")
    kept = {key: value for key, value in stated_sweep(sweep).items() if key not in hidden}
    root = study.facts.get("root")
    if isinstance(root, str):
        move_paths(kept, root=Path(root), folder=folder)
    phases = record.phases
    params = completed(study_space(study), phases[0].params) if phases else best_params(study, record)
    if phases and isinstance(training := kept.get("training"), Mapping):
        kept["training"] = {**training, "changes": changes_of(record)}
    if isinstance(model := kept.get("model"), Mapping) and model.get("choices"):
        kept["model"] = _of_one_model(model, params.pop(MODEL, model.get("kind")))
    return {
        "study": _one_trial_name(study.name, record.number),
        **kept,
        "space": {name: _fixed(study, name, value) for name, value in params.items()},
        "search": {"trials": 1, "strategy": "random", "pruner": "none", "trial_seed": record.seed},
    }


def changes_of(record: TrialRecord) -> list[dict[str, Json]]:
    """How a trial's values changed while it trained, as `training.changes` says it."""
    parts = phases_as_fact(record.phases)[1:]
    return [{"after_epoch": part["from_epoch"], **part["values"]} for part in parts if part["values"]]


def _of_one_model(model: Mapping[str, Json], kind: Json) -> dict[str, Json]:
    """The `model:` block of a trial, out of one with choices."""
    own = {h.name for h in hyperparameters_of(str(kind))}
    settings = {name: value for name, value in (model.get("settings") or {}).items() if name in own}
    return {**{key: value for key, value in model.items() if key != "choices"}, "kind": kind, "settings": settings}


def _one_trial_name(study: str, trial: int) -> str:
    suffix = f"-trial-{trial}"
    return re.sub("[^A-Za-z0-9._-]", "_", study)[: _NAME_LENGTH - len(suffix)] + suffix


def _fixed(study: StudyData, name: str, value: ParamValue) -> dict[str, Json]:
    tiers = {d.name: d.tier for d in study_space(study)}
    tier = tiers.get(name, 1)
    return {"choices": [value], "tier": "regularisation" if tier == REGULARISATION_TIER else min(tier, 3)}


def _copy(source: Path, target: Path) -> bool:
    """Copy a file so that the target is whole at any moment; False if there is no source."""
    if not source.is_file():
        return False
    own_place(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(target)
    try:
        shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return True


_PREDICT = '''\
"""Loads the network beside this file. `python predict.py` scores it on the dev set; `predict` is there to import."""

from pathlib import Path

import torch

from tuner.data.load import load_training_data
from tuner.models.ensemble import load_network
from tuner.models.unpacked import read_trained
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.reader import read_sweep

HERE = Path(__file__).parent
SPEC = read_sweep(HERE / "sweep.yaml").spec
KNOWN = {}
"""The hash of the examples that the network was trained on: others are refused."""
DATA = load_training_data(SPEC, known=KNOWN)
WEIGHTS = read_trained(HERE / "weights.pt")
VALUES = settings_for(SPEC, build_space(SPEC).default())
NETWORK = load_network(SPEC, VALUES, DATA.info, WEIGHTS, seed=SPEC.search.trial_seed or 0)


@torch.no_grad()
def predict(inputs: torch.Tensor, network: torch.nn.Module = NETWORK) -> torch.Tensor:
    """Probabilities of classes or labels, or predicted targets, of inputs prepared like `DATA.dev.inputs`."""
    outputs = network(inputs)
    if DATA.info.task == "classification":
        return outputs.softmax(dim=1)
    if DATA.info.task == "multi_label":
        return outputs.sigmoid()
    return outputs * torch.tensor(DATA.info.target_std) + torch.tensor(DATA.info.target_mean)


if __name__ == "__main__":
    # With folds, each example is predicted by the network that was not trained on it.
    folds = zip(DATA.folds, getattr(NETWORK, "networks", []), strict=True)
    parts = [predict(DATA.train.inputs[fold.dev], network) for fold, network in folds]
    predicted = torch.cat(parts) if parts else predict(DATA.dev.inputs)
    if DATA.info.task == "classification":
        print(f"dev accuracy {(predicted.argmax(dim=1) == DATA.dev.targets).double().mean():.6f}")
    elif DATA.info.task == "multi_label":
        right = (predicted > 0.5) == DATA.dev.targets.bool()
        print(f"dev subset_accuracy {right.all(dim=1).double().mean():.6f}")
    else:
        targets = DATA.dev.targets * torch.tensor(DATA.info.target_std) + torch.tensor(DATA.info.target_mean)
        print(f"dev rmse {(predicted - targets).double().square().mean().sqrt():.6g}")
'''
"""The file `best/predict.py`."""
