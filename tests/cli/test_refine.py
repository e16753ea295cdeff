"""`tuner refine`: the next sweep file, with comments kept and reasons given."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.contracts.store_contract import train
from tuner.cli.refine import refine
from tuner.errors import StorageError, StudyMismatchError, TunerError, UsageError
from tuner.paths import StudyPaths
from tuner.records import Direction, Params, TrialFinished
from tuner.report.best import write_best
from tuner.spec.defaults import build_space
from tuner.spec.kept.space_values import space_to_json
from tuner.spec.reader import read_sweep
from tuner.store.optuna_store import open_store
from tuner.store.reader import read_study

SWEEP = """\
# Digits, as we know them.
study: digits   # the name

data: {source: sklearn/digits}

space:          # in Ng's order
  learning_rate: {low: 1e-4, high: 1.0}   # watch this one
  momentum:
    low: 0.5
    high: 0.99
  batch_size: {choices: [32, 64, 128, 256]}
  dropout: {low: 0.0, high: 0.6, default: 0.5}

training: {epochs: 3}

search:
  trials: 8     # a total
  seed: 1

finalists: {count: 2, seeds: 2}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "digits.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


def make_study(sweep: Path, trials: list[Params]) -> None:
    spec = read_sweep(sweep).spec
    paths = StudyPaths(sweep.parent / "results" / spec.study)
    space = build_space(spec)
    with open_store(paths, study=spec.study, direction=Direction.MAXIMIZE, metric="accuracy", space=space) as store:
        store.set("space", space_to_json(space))
        store.set("sweep", spec.model_dump(mode="json"))
        store.set("root", str(sweep.parent))
        for record in store.start([(params, 3, "all") for params in trials]):
            train(store, record.number, [0.9 - 0.01 * record.number])
            store.record(TrialFinished(trial=record.number, reason="all epochs"))


def call(sweep: Path, *arguments: str) -> Result:
    results = ["--results", str(sweep.parent / "results")]
    return CliRunner().invoke(refine, [str(sweep), *results, *arguments], catch_exceptions=False)


def trial(rate: float, *, momentum: float = 0.9, batch_size: int = 64, dropout: float = 0.1) -> Params:
    return {"learning_rate": rate, "momentum": momentum, "batch_size": batch_size, "dropout": dropout}


def test_it_zooms_keeps_comments_and_starts_with_the_best(sweep: Path) -> None:
    make_study(sweep, [trial(0.01 * k, dropout=0.2 + 0.02 * k) for k in range(1, 11)])
    result = call(sweep)
    written = Path(result.stdout.strip())
    assert written == sweep.parent / "digits-2.yaml"
    text = written.read_text(encoding="utf-8")
    for comment in ("# Digits, as we know them.", "# the name", "# in Ng's order", "# a total", "watch this one"):
        assert comment in text
    spec = read_sweep(written).spec
    space = build_space(spec)
    assert spec.study == "digits-2"
    assert 1e-4 < space["learning_rate"].low <= 0.01
    assert 0.05 <= space["learning_rate"].high < 1.0
    assert spec.search.start == [trial(0.01, dropout=0.22)]
    assert "zoomed to" in text
    assert "the best 5 trials lie at 0.01 to 0.05" in text
    assert "learning_rate zoomed to" in result.stderr
    assert text.endswith("finalists: {count: 2, seeds: 2}\n")


def test_it_widens_a_range_whose_winners_crowd_the_bound(sweep: Path) -> None:
    make_study(sweep, [trial(0.99 - 0.01 * k) for k in range(6)])
    call(sweep)
    text = (sweep.parent / "digits-2.yaml").read_text(encoding="utf-8")
    assert build_space(read_sweep(sweep.parent / "digits-2.yaml").spec)["learning_rate"].high > 1.0
    assert "crowd the upper bound of 0.0001 to 1" in text


def test_it_takes_the_study_by_name(sweep: Path) -> None:
    make_study(sweep, [trial(0.01 * k) for k in range(1, 7)])
    results = ["--results", str(sweep.parent / "results")]
    result = CliRunner().invoke(refine, ["digits", *results, "--name", "fine"], catch_exceptions=False)
    assert Path(result.stdout.strip()) == sweep.parent / "fine.yaml"
    spec = read_sweep(sweep.parent / "fine.yaml").spec
    assert spec.study == "fine"
    assert spec.model_copy(update={"study": "", "space": {}, "search": None}) == read_sweep(sweep).spec.model_copy(
        update={"study": "", "space": {}, "search": None}
    )


@pytest.mark.slow
def test_refining_again_numbers_on_and_replaces_its_remarks(sweep: Path) -> None:
    make_study(sweep, [trial(0.01 * k) for k in range(1, 11)])
    again = Path(call(sweep).stdout.strip())
    again.write_text(again.read_text().replace("study: digits-2", "study: digits-7"), encoding="utf-8")
    make_study(again, [trial(0.018 + 0.0002 * k, momentum=0.88 + 0.001 * k) for k in range(10)])
    third = Path(call(again).stdout.strip())
    assert third.name == "digits-8.yaml"
    text = third.read_text(encoding="utf-8")
    assert "watch this one" in text
    assert all(line.count("the best 5 trials") <= 1 for line in text.splitlines())
    assert len(re.findall(r"zoomed to .*: the best 5 trials lie at 0.88 to 0.884, ", text)) == 1
    assert read_sweep(third).spec.search.start[0] == trial(0.018, momentum=0.88)


def test_a_file_that_is_not_what_was_searched_is_refused(sweep: Path) -> None:
    make_study(sweep, [trial(0.01 * k) for k in range(1, 7)])
    sweep.write_text(SWEEP.replace("high: 1.0", "high: 0.5"), encoding="utf-8")
    with pytest.raises(StudyMismatchError, match=r"space\.learning_rate"):
        call(sweep)
    assert list(sweep.parent.glob("*.yaml")) == [sweep]


def test_what_no_trial_has_moved_stays_as_it_is(sweep: Path) -> None:
    make_study(sweep, [trial(0.01 * k) for k in range(1, 11)])
    call(sweep)
    old, new = (build_space(read_sweep(path).spec) for path in (sweep, sweep.parent / "digits-2.yaml"))
    assert new["learning_rate"].high < old["learning_rate"].high
    for name in ("momentum", "dropout", "batch_size"):
        assert new[name].values_text == old[name].values_text


@pytest.mark.slow
def test_paths_of_the_file_still_lead_there(sweep: Path) -> None:
    (sweep.parent / "table.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    sweep.write_text(SWEEP.replace("sklearn/digits", "table.csv"), encoding="utf-8")
    make_study(sweep, [trial(0.01 * k) for k in range(1, 7)])
    call(sweep, "-o", str(sweep.parent / "deeper" / "next.yaml"))
    assert read_sweep(sweep.parent / "deeper" / "next.yaml").spec.data.source == "../table.csv"


def test_an_unfinished_study_is_called_so(sweep: Path) -> None:
    make_study(sweep, [trial(0.01 * k) for k in range(1, 7)])
    assert "digits is not finished: 6 of 8 trials have ended" in call(sweep).stderr


@pytest.mark.slow
def test_it_overwrites_only_when_told(sweep: Path) -> None:
    make_study(sweep, [trial(0.01 * k) for k in range(1, 7)])
    call(sweep)
    with pytest.raises(UsageError, match="--force"):
        call(sweep)
    assert call(sweep, "--force").exit_code == 0
    assert call(sweep, "-o", str(sweep.parent / "other.yaml")).exit_code == 0


def test_too_few_finished_trials_are_said(sweep: Path) -> None:
    make_study(sweep, [trial(0.01 * k) for k in range(1, 6)])
    with pytest.raises(TunerError, match="has 5 finished trials; to refine, at least 6"):
        call(sweep)


def test_the_default_space_is_written_out(sweep: Path) -> None:
    head, _, rest = SWEEP.partition("space:")
    sweep.write_text(head + rest[rest.index("training:") :], encoding="utf-8")
    space = build_space(read_sweep(sweep).spec)
    make_study(sweep, [{**space.default(), "learning_rate": 0.01 * k} for k in range(1, 7)])
    call(sweep)
    written = sweep.parent / "digits-2.yaml"
    text = written.read_text(encoding="utf-8")
    again = build_space(read_sweep(written).spec)
    assert again.names == space.names
    assert [d.tier for d in again] == [d.tier for d in space]
    assert "\n\ntraining:" in text


@pytest.mark.slow
def test_a_study_that_searches_the_optimizer_is_refined_by_its_name(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sweep.parent)
    text = SWEEP.replace("  batch_size: ", "  optimizer: {choices: [sgd, adam, rmsprop]}\n  batch_size: ")
    sweep.write_text(text.replace("  momentum:\n    low: 0.5\n    high: 0.99\n", ""), encoding="utf-8")
    found = [build_space(read_sweep(sweep).spec).default() | {"learning_rate": 0.01 * k} for k in range(1, 7)]
    make_study(sweep, found)
    assert CliRunner().invoke(refine, ["digits", "-o", "next.yaml"], catch_exceptions=False).exit_code == 0
    assert "optimizer" in (read_sweep(Path("next.yaml")).spec.space or {})
    paths = StudyPaths(sweep.parent / "results" / "digits")
    write_best(read_study(paths, study="digits"), paths)
    again = read_sweep(paths.best / "sweep.yaml").spec
    assert build_space(again)["optimizer"].choices == (found[0]["optimizer"],)


def test_a_choice_with_an_escape_code_is_refined_without_one_in_a_comment(sweep: Path) -> None:
    own = SWEEP.replace("\nspace:", "model: net.py:build\n\nspace:")
    choices = '  kind: {choices: ["a\\e[2J", b, c, d]}\n  batch_size'
    sweep.write_text(own.replace("  batch_size", choices), encoding="utf-8")
    make_study(sweep, [trial(0.01 * k) | {"kind": "a\x1b[2J" if k < 6 else "c"} for k in range(1, 11)])
    call(sweep)
    text = (sweep.parent / "digits-2.yaml").read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert "lie at a\\x1b[2J" in text
    assert build_space(read_sweep(sweep.parent / "digits-2.yaml").spec)["kind"].choices == ("a\x1b[2J",)


def test_parameters_and_values_that_the_space_does_not_have_are_left_out(sweep: Path) -> None:
    """As an altered database may hold them."""
    make_study(sweep, [trial(0.01 * k) for k in range(1, 7)])
    with closing(sqlite3.connect(StudyPaths(sweep.parent / "results" / "digits").database)) as connection, connection:
        connection.execute("UPDATE trial_params SET param_name = 'words' WHERE param_name = 'dropout'")
    call(sweep)
    (start,) = read_sweep(sweep.parent / "digits-2.yaml").spec.search.start
    assert "words" not in start


def test_a_stored_sweep_that_contradicts_itself_is_damage(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sweep.parent)
    make_study(sweep, [trial(0.01 * k) for k in range(1, 7)])
    with closing(sqlite3.connect(StudyPaths(sweep.parent / "results" / "digits").database)) as connection, connection:
        connection.execute(
            "UPDATE study_user_attributes SET value_json = json_set(value_json, '$.training.warmup_epochs', 99) "
            "WHERE key = 'sweep'"
        )
    with pytest.raises(StorageError, match=r'the study\'s fact "sweep" cannot be refined: .*warmup_epochs'):
        CliRunner().invoke(refine, ["digits"], catch_exceptions=False)
