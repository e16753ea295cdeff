"""Every command names the same best trial, with the same reason: finalists may choose another than the search."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.contracts.store_contract import SPACE, train
from tests.store.studies import reopen
from tuner.cli.best import best
from tuner.cli.compare import compare
from tuner.cli.refine import winners_of_study
from tuner.cli.report import report
from tuner.cli.show import show
from tuner.cli.status import status
from tuner.paths import StudyPaths
from tuner.records import FINALIST, Direction, TrialFinished, TrialState
from tuner.report.certainty.choice import choice_so_far, final_choice
from tuner.report.certainty.finalists import finals
from tuner.spec.kept.space_values import space_to_json
from tuner.spec.model import DataSpec, SweepSpec
from tuner.store.optuna_store import OptunaStore, open_store
from tuner.store.reader import read_study

pytestmark = pytest.mark.slow

SEARCH = (0.91, 0.99, 0.95, 0.90)
"""Of trials 0 to 3: trial 1 leads the search."""
FRESH = {1: (0.90, 0.91), 2: (0.95, 0.94)}
"""On fresh seeds trial 2 is ahead."""
WHY = "chosen of 2 finalists: mean dev accuracy 0.9450 on fresh seeds"


def finish(store: OptunaStore, values: Sequence[float]) -> None:
    for number, value in enumerate(values):
        train(store, number, [value])
        store.record(TrialFinished(trial=number, reason="all epochs"))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    paths = StudyPaths(tmp_path / "results" / "digits")
    with reopen(paths) as store:
        store.set("sweep", SweepSpec(study="digits", data=DataSpec(source="sklearn/digits")).model_dump(mode="json"))
        store.set("space", space_to_json(SPACE))
        params = [{**SPACE.default(), "momentum": 0.90 + number / 100} for number in range(len(SEARCH))]
        store.start([(p, 3, "tier 1") for p in params])
        finish(store, SEARCH)
    repeated = [trial for trial, values in FRESH.items() for _ in values]
    with open_store(
        paths, study="digits/finalists", direction=Direction.MAXIMIZE, metric="accuracy", space=SPACE
    ) as store:
        facts = [{"repeat_of": n, "repeat": 1 + i % 2, "repeats": 2} for i, n in enumerate(repeated)]
        store.start([(params[n], 3, FINALIST) for n in repeated], facts=facts)
        finish(store, [value for values in FRESH.values() for value in values])
    return tmp_path / "results"


def call(command: object, *arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result


def test_one_answer_everywhere_with_its_reason(results: Path) -> None:
    where = ("--results", results)
    said = call(status, "digits", *where).stdout
    assert "0.9500 accuracy, trial 2, epoch 1" in said
    assert WHY in said
    found = json.loads(call(status, "digits", "--json", *where).stdout)["best"]
    assert (found["trial"], found["why"]) == (2, WHY)
    found = json.loads(call(best, "digits", "--format", "json", *where).stdout)
    assert (found["trial"], found["why"]) == (2, WHY)
    found = json.loads(call(report, "digits", "--format", "json", *where).stdout)
    assert found["best"] == {"trial": 2, "why": WHY}
    assert found["summary"][0].startswith(f"Best: trial 2, {WHY}")
    assert found["summary"][0].endswith("Trial 1 led the search, with 0.9900.")
    assert f"Best: trial 2, {WHY}" in call(report, "digits", "--format", "markdown", *where).stdout
    page = call(report, "digits", "--format", "html", *where).stdout
    assert f"Best: trial 2, {WHY}" in page
    for number, which in ((1, "trial 2"), (2, "this one")):
        said = call(show, "digits", number, *where).stdout
        assert re.search(rf"^best +{which}, {WHY}$", said, re.MULTILINE)
    assert "finalist 2, seed 2 of 2: 0.9400" in said
    assert json.loads(call(show, "digits", 1, "--json", *where).stdout)["best_of_study"] == {"trial": 2, "why": WHY}
    assert re.search(r"^trial\s+2\s+2\b", call(compare, "digits", "digits", *where).stdout, re.MULTILINE)


def test_of_finalists_one_that_breaks_a_constraint_is_no_choice_where_another_keeps_it(results: Path) -> None:
    study = read_study(StudyPaths(results / "digits"), study="digits")
    records = tuple(replace(r, facts={"violation": float(r.number == 2)}) for r in study.records)
    study = replace(study, records=records)
    choice, decided = final_choice(study), finals(study)
    assert choice is not None
    assert decided is not None
    assert choice.record.number == decided.winner.record.number == 1
    assert [(f.record.number, f.tied) for f in decided.finalists] == [(1, True), (2, False)]


def test_the_next_study_starts_with_it(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.cli.refine._LEAST_FINISHED", 4)
    winners = winners_of_study(read_study(StudyPaths(results / "digits"), study="digits"))
    assert [params["momentum"] for params in winners] == [0.92, 0.91]
    assert f"starts with trial 2, {WHY}" in capsys.readouterr().err


def test_before_a_trial_has_finished_the_best_under_way_keeps_the_constraints(results: Path) -> None:
    study = read_study(StudyPaths(results / "digits"), study="digits")
    running = [replace(r, state=TrialState.RUNNING, facts={"violation": float(r.number == 1)}) for r in study.records]
    study = replace(study, records=tuple(running), finalists=())
    assert final_choice(study) is None
    choice = choice_so_far(study)
    assert choice is not None
    assert choice.record.number == 2
