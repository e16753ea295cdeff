"""From Optuna's journal files, tuner's and others', to SQLite files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.contracts.store_contract import SPACE, same, train
from tests.store.studies import make_study, reopen
from tuner.errors import StorageError, TunerError, UsageError
from tuner.paths import StudyPaths
from tuner.records import TrialFinished
from tuner.store.convert import convert_journal
from tuner.store.engines import quiet_optuna
from tuner.store.locations import find_database
from tuner.store.reader import read_study


def journal_at(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path)))


def as_journal(paths: StudyPaths, path: Path) -> Path:
    """Write the studies of a study's database into a journal file, as Optuna copies them."""
    source = optuna.storages.RDBStorage(f"sqlite:///{paths.database}")
    with quiet_optuna():
        for study in source.get_all_studies():
            optuna.copy_study(from_study_name=study.study_name, from_storage=source, to_storage=journal_at(path))
    source.engine.dispose()
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal file with a study of three trials."""
    folder = tmp_path_factory.mktemp("sound")
    make_study(StudyPaths(folder))
    return as_journal(StudyPaths(folder), folder / "studies.journal").read_bytes()


@pytest.fixture
def journal(sound: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "studies.journal"
    path.write_bytes(sound)
    return path


@pytest.mark.slow
def test_a_study_is_read_and_gone_on_with_as_before(paths: StudyPaths, tmp_path: Path) -> None:
    make_study(paths)
    with reopen(paths) as store:
        store.start([(SPACE.default(), 2, "")])
        train(store, 3, [math.nan])
        store.set("sweep", {"study": "digits"})
    with reopen(paths, study="digits/finalists") as store:
        store.start([(SPACE.default(), 2, "")], facts=[{"repeat_of": 1}])
    before = read_study(paths, study="digits")
    journal = as_journal(paths, tmp_path / "studies.journal")
    text = journal.read_bytes()
    assert sorted(convert_journal(journal, tmp_path / "studies.db")) == ["digits", "digits/finalists"]
    assert journal.read_bytes() == text
    after = read_study(paths, study="digits", url=str(tmp_path / "studies.db"))
    assert same(after.records, before.records)
    assert same(after.finalists, before.finalists)
    assert (after.facts, after.metric, after.identity) == (before.facts, before.metric, before.identity)
    with reopen(paths, url=str(tmp_path / "studies.db")) as store:
        train(store, 3, [0.5])
        store.record(TrialFinished(trial=3, reason="all epochs"))


def test_choices_that_optuna_takes_for_one_another_are_told_apart(paths: StudyPaths, tmp_path: Path) -> None:
    journal = journal_at(tmp_path / "studies.journal")
    choices = ("relu", True, 1, 1.0, None, math.nan)
    with quiet_optuna():
        optuna.create_study(study_name="digits", storage=journal)
    for place in range(len(choices)):
        trial = journal.create_new_trial(0)
        journal.set_trial_param(trial, "x", place, CategoricalDistribution(choices))
    convert_journal(tmp_path / "studies.journal", tmp_path / "studies.db")
    records = read_study(paths, study="digits", url=str(tmp_path / "studies.db")).records
    assert [repr(r.params["x"]) for r in records] == ["'relu'", "True", "1", "1.0", "'None'", "nan"]


@pytest.mark.slow
def test_all_that_plain_optuna_has_written_is_there(tmp_path: Path) -> None:
    journal = tmp_path / "studies.journal"

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 1e-3, 1, log=True)
        trial.suggest_categorical("kind", ["a", "b"])
        trial.report(math.nan, 1)
        trial.report(-math.inf, 2)
        trial.set_user_attr("note", {"x": [1, None]})
        match trial.number:
            case 1:
                raise optuna.TrialPruned
            case 2:
                raise ArithmeticError
        return x if trial.number else math.inf

    with quiet_optuna():
        one = optuna.create_study(study_name="one", storage=journal_at(journal), direction="maximize")
        one.optimize(objective, n_trials=3, catch=(ArithmeticError,))
        one.enqueue_trial({"x": 0.5}, user_attrs={"from": "me"})
        one.set_user_attr("of", "the study")
        two = optuna.create_study(study_name="two", storage=journal_at(journal), directions=["maximize", "minimize"])
        two.optimize(lambda trial: (trial.suggest_int("n", 1, 9), 2.0), n_trials=2)
        two.ask()
        assert convert_journal(journal, tmp_path / "studies.db") == ["one", "two"]
        for before in (one, two):
            after = optuna.load_study(study_name=before.study_name, storage=f"sqlite:///{tmp_path}/studies.db")
            assert after.directions == before.directions
            assert after.user_attrs == before.user_attrs
            assert [shown(trial) for trial in after.trials] == [shown(trial) for trial in before.trials]


def shown(trial: optuna.trial.FrozenTrial) -> str:
    """All of a trial but its id, which each database gives anew."""
    trial._trial_id = 0
    return repr(trial)


def cut_short(journal: Path) -> None:
    with journal.open("ab") as file:
        file.write(b'{"op_code": 5, "wor')


@pytest.mark.slow
def test_a_last_line_that_was_cut_short_is_passed_over(paths: StudyPaths, tmp_path: Path, journal: Path) -> None:
    cut_short(journal)
    convert_journal(journal, tmp_path / "studies.db")
    assert len(read_study(paths, study="digits", url=str(tmp_path / "studies.db")).records) == 3


def damaged(journal: Path) -> None:
    cut_short(journal)
    with journal.open("ab") as file:
        file.write(b'{"op_code": 5, "worker_id": "w"}\n' * 2)


def without_a_line_that_others_build_on(journal: Path) -> None:
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[1:]))


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (damaged, "is damaged: JSONDecodeError"),
        (without_a_line_that_others_build_on, "is damaged|holds no study"),
        (lambda journal: journal.write_text('{"op_code": 1, "study_id": 0}\n'), "is damaged|holds no study"),
        (lambda journal: journal.write_text("0123456789abcdef\n"), "an Optuna journal .it begins with b'0123456789ab'"),
        (lambda journal: journal.write_text(""), "not an Optuna journal"),
        (lambda journal: journal.write_text("5\n"), "not an Optuna journal"),
        (Path.unlink, "cannot read"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_said_and_leaves_nothing(
    tmp_path: Path, journal: Path, harm: Callable[[Path], object], cause: str
) -> None:
    harm(journal)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(StorageError, match=cause):
        convert_journal(journal, tmp_path / "studies.db")
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_a_study_that_is_being_run_is_not_converted(paths: StudyPaths, tmp_path: Path) -> None:
    with reopen(paths):
        journal = as_journal(paths, tmp_path / "studies.journal")
        with pytest.raises(StorageError, match="is run by process"):
            convert_journal(journal, tmp_path / "studies.db")


def test_nothing_is_overwritten(tmp_path: Path, journal: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        convert_journal(journal, journal)


@pytest.mark.parametrize(
    ("url", "file"),
    [("a b.journal", "a b.journal"), ("a.log", "a.log"), ("journal:///a.x", "a.x"), ("journal:///a", "a")],
)
def test_a_journal_file_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, file: str
) -> None:
    monkeypatch.chdir(tmp_path)

    def refusal() -> str:
        with pytest.raises(TunerError) as raised:
            find_database(StudyPaths(tmp_path), url=url)
        return str(raised.value)

    new = f"{Path(file).stem}.db"
    assert refusal().endswith(f"; name a SQLite file: --store {new}")
    Path(file).touch()
    quoted = [f"'{name}'" if " " in name else name for name in (file, new)]
    assert f"`tuner doctor --convert {quoted[0]} {quoted[1]}` writes" in refusal()
