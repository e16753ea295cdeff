from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.report.simulate import SimulatedStudy, simulate
from tuner.paths import StudyPaths
from tuner.records import PHASES, Phase, TrialRecord, phases_as_fact
from tuner.report.best import one_trial_sweep, write_best
from tuner.report.certainty.choice import final_choice
from tuner.report.words.phases import phase_lines, phases_in_words
from tuner.spec.model import SweepSpec
from tuner.spec.reader import read_sweep
from tuner.store.study_data import StudyData


def load(path: Path) -> dict[str, object]:
    return YAML(typ="safe", pure=True).load(path)


def test_the_choice_is_the_finalists_winner_else_the_first_in_rank(mixed: SimulatedStudy) -> None:
    decided = final_choice(mixed.study)
    assert decided is not None
    assert decided.record.number in {r.facts["repeat_of"] for r in mixed.study.finalists}
    alone = final_choice(replace(mixed.study, finalists=()))
    assert alone is not None
    assert alone.record.value == max(r.value for r in mixed.study.records if r.state == "complete" and r.value)
    assert final_choice(replace(mixed.study, records=(), finalists=())) is None


def test_best_folder_holds_parameters_and_a_sweep_that_reads_back(
    mixed: SimulatedStudy, mixed_paths: StudyPaths
) -> None:
    choice = final_choice(mixed.study)
    assert choice is not None
    mixed_paths.trial(choice.record.number).weights.write_bytes(b"weights")
    write_best(mixed.study, mixed_paths)
    assert load(mixed_paths.best / "params.yaml") == dict(choice.record.params)
    assert (mixed_paths.best / "weights.pt").read_bytes() == b"weights"
    spec = read_sweep(mixed_paths.best / "sweep.yaml").spec
    assert spec.search.trials == 1
    assert spec.search.trial_seed == choice.record.seed
    assert spec.finalists is None
    assert {name: d.choices for name, d in (spec.space or {}).items()} == {
        name: [value] for name, value in choice.record.params.items()
    }


def test_of_several_models_the_file_has_the_trials_own(mixed: SimulatedStudy, tmp_path: Path) -> None:
    settings = {"kernel_size": 3, "residual": True}
    model = {"kind": "mlp", "choices": ["mlp", "cnn"], "settings": settings}
    facts = {**mixed.study.facts, "sweep": {**mixed.study.facts["sweep"], "model": model}}
    record = replace(mixed.study.records[0], params={"learning_rate": 0.1, "model": "cnn", "channels": 8})
    written = one_trial_sweep(replace(mixed.study, facts=facts), record, folder=tmp_path)
    assert written is not None
    assert written["model"] == {"kind": "cnn", "settings": {"kernel_size": 3}}
    assert written["space"].keys() == {"learning_rate", "channels"}
    assert SweepSpec.model_validate(written).model.kinds == ("cnn",)


@pytest.mark.parametrize(("augment", "is_kept"), [(None, False), (0.5, True)])
def test_the_winners_sweep_is_read_without_a_warning(
    mixed: SimulatedStudy, mixed_paths: StudyPaths, augment: float | None, is_kept: bool
) -> None:
    spec = SweepSpec.model_validate({**mixed.study.facts["sweep"], "training": {"augment": augment}})
    facts = {**mixed.study.facts, "sweep": spec.model_dump(mode="json")}
    write_best(replace(mixed.study, facts=facts), mixed_paths)
    read = read_sweep(mixed_paths.best / "sweep.yaml")
    assert read.warnings == ()
    assert ("augment_flip" in read.spec.training.model_fields_set) is is_kept


def test_no_finished_trial_writes_nothing(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / "s")
    write_best(simulate(trials=0, seed=0).study, paths)
    assert not paths.folder.exists()


def test_paths_of_the_sweep_file_are_found_from_its_new_place(mixed: SimulatedStudy, tmp_path: Path) -> None:
    root, folder = tmp_path / "sweeps", tmp_path / "results" / "s" / "best"
    root.mkdir()
    (root / "data.csv").touch()
    (root / "net.py").touch()
    sweep = {
        **mixed.study.facts["sweep"],
        "data": {"source": "data.csv", "dev": "missing.csv"},
        "model": {"kind": "net.py:build", "settings": {}},
    }
    data = replace(mixed.study, facts={**mixed.study.facts, "sweep": sweep, "root": str(root)})
    written = one_trial_sweep(data, data.records[0], folder=folder)
    assert written is not None
    assert (folder / written["data"]["source"]).resolve() == root / "data.csv"
    assert written["data"]["dev"] == "missing.csv"
    source, _, name = written["model"]["kind"].rpartition(":")
    assert ((folder / source).resolve(), name) == (root / "net.py", "build")


def test_names_that_packages_and_bundled_sets_have_are_left_alone(mixed: SimulatedStudy, tmp_path: Path) -> None:
    data = replace(mixed.study, facts={**mixed.study.facts, "root": str(tmp_path)})
    written = one_trial_sweep(data, data.records[0], folder=tmp_path / "best")
    assert written is not None
    assert written["data"]["source"] == "sklearn/digits"
    assert written["model"]["kind"] == "mlp"
    assert SweepSpec.model_validate(written).study.endswith("-trial-0")


@pytest.mark.parametrize("name", ["a" * 100, "odd name/with: signs"])
def test_the_new_study_has_a_name_that_a_study_may_have(mixed: SimulatedStudy, name: str, tmp_path: Path) -> None:
    written = one_trial_sweep(replace(mixed.study, name=name), mixed.study.records[3], folder=tmp_path)
    assert written is not None
    assert SweepSpec.model_validate(written).study == written["study"]


def test_a_study_of_plain_optuna_has_no_sweep_but_parameters(tmp_path: Path) -> None:
    foreign: StudyData = replace(simulate(trials=5, seed=0).study, facts={}, space=None, metric="value")
    paths = StudyPaths(tmp_path / "s")
    write_best(foreign, paths)
    assert sorted(p.name for p in paths.best.iterdir()) == ["params.yaml"]


def changing(record: TrialRecord, *rates: float) -> TrialRecord:
    """The record with these learning rates one after the other, two epochs each, the last its own trial's."""
    params = [{**record.params, "learning_rate": rate} for rate in rates]
    phases = [Phase(from_epoch=2 * n, params=own, trial=90 + n) for n, own in enumerate(params[:-1])]
    phases.append(Phase(from_epoch=2 * len(phases), params=params[-1], trial=record.number))
    return replace(record, params=params[-1], facts={PHASES: phases_as_fact(phases)})


def test_values_that_changed_are_in_the_file_and_said(mixed: SimulatedStudy, tmp_path: Path) -> None:
    record = changing(mixed.study.records[0], 0.5, 0.25, 0.125)
    written = one_trial_sweep(mixed.study, record, folder=tmp_path)
    assert written is not None
    assert written["space"]["learning_rate"]["choices"] == [0.5]
    changes = [{"after_epoch": 2, "learning_rate": 0.25}, {"after_epoch": 4, "learning_rate": 0.125}]
    assert written["training"]["changes"] == changes
    assert SweepSpec.model_validate(written).training.changes == changes
    assert phases_in_words(record) == "learning_rate 0.5, 0.25 from epoch 3, 0.125 from epoch 5"
    first, *others = phase_lines(record)
    assert first.startswith("from epoch 1, as trial 90: learning_rate 0.5, ")
    assert others == ["from epoch 3, as trial 91: learning_rate 0.25", "from epoch 5: learning_rate 0.125"]
    many = changing(record, *(0.5 / n for n in range(1, 11)))
    assert phases_in_words(many) == "learning_rate 0.5 to 0.05 in 9 steps, between 0.05 and 0.5"
    assert phases_in_words(mixed.study.records[0]) == ""
