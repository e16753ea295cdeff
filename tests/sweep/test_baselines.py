"""Baselines beside a sweep: begun with its first trials, remembered, waited for a while, and no reason to stop."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tuner.cli.main import run_command_line
from tuner.execute import beside
from tuner.execute.beside import BaselinesBeside
from tuner.execute.facts import TaskFacts
from tuner.paths import StudyPaths
from tuner.records import Direction, Json
from tuner.report.analysis import Analysis
from tuner.report.summary import summarise
from tuner.report.worth import baseline_verdict
from tuner.spec.model import DataSpec, FoldsSpec, ModelSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.store.facts import BASELINES_KEY
from tuner.store.memory import MemoryStore
from tuner.store.reader import read_study
from tuner.sweep import baselines
from tuner.sweep.baselines import Baselines, Begin
from tuner.sweep.options import RunOptions
from tuner.sweep.run import StudyRun
from tuner.sweep.stop import StopRequest
from tuner.sweep.watcher import Watcher

FACTS = TaskFacts(
    metric="accuracy", direction=Direction.MAXIMIZE, device="cpu", calibration={},
    data={"task": "classification", "input_shape": [3], "num_outputs": 2, "num_train": 60, "num_dev": 30,
          "sha256": "a"},
)  # fmt: skip
DONE: dict[str, Json] = {"value": 0.8, "loss": 0.5, "examples": 60, "seconds": 0.1}


class FakeProcess:
    """Answers with what is given, all at once, and then works for good unless it has nothing more to do."""

    answers: Sequence[tuple[str, dict[str, Json]]] = ()
    begun: ClassVar[list[tuple[str, ...]]]
    last: ClassVar[FakeProcess]

    def __init__(self, *, names: Sequence[str], known: Mapping[str, Json]) -> None:
        type(self).begun.append(tuple(names))
        self._left = list(type(self).answers)
        self.ended = False
        self.closed = False
        self.was_lost = False
        type(self).last = self

    def received(self, timeout_seconds: float = 0.0) -> list[tuple[str, dict[str, Json]]]:
        found, self._left = self._left, []
        return found

    def close(self) -> None:
        self.ended = self.closed = True


class Lines(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def said(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def process(with_baselines: None) -> type[FakeProcess]:
    class Own(FakeProcess):
        begun: ClassVar[list[tuple[str, ...]]] = []

    return Own


def spec(asked: Any = "auto", **more: Any) -> SweepSpec:
    return SweepSpec(study="s", data=DataSpec(source="x.csv", **more), baselines=asked)


def of_run(begin: Begin, store: MemoryStore, said: list[str], asked: Any = "auto", **more: Any) -> Baselines:
    return Baselines(spec(asked), store, FACTS, begin=begin, say=said.append, **more)


def a_store() -> MemoryStore:
    return MemoryStore(direction=Direction.MAXIMIZE, seed=0)


def test_what_is_ready_is_remembered_and_not_trained_again(process: type[FakeProcess]) -> None:
    store, said = a_store(), list[str]()
    process.answers = [("guess", DONE), ("linear", {"failed": "too large"})]
    one = of_run(process, store, said, ["guess", "linear", "boosting"])
    one.started([])
    one.started([])
    one.epochs(None, [])  # type: ignore[arg-type]
    assert process.begun == [("guess", "linear", "boosting")]
    assert store.get(BASELINES_KEY)["guess"] == {**DONE, "sha256": "a"}
    assert said == ["baseline guess: dev accuracy 0.8000, 0.1 s", "baseline linear failed: too large"]
    of_run(process, store, said, ["guess", "linear", "boosting"]).started([])
    of_run(process, store, said, ["guess", "linear", "boosting"], again=True).started([])
    assert process.begun[1:] == [("boosting",), ("linear", "boosting")]


def test_those_of_other_data_are_trained_again(process: type[FakeProcess]) -> None:
    store = a_store()
    store.set(BASELINES_KEY, {"guess": {**DONE, "sha256": "b"}})
    of_run(process, store, [], ["guess"]).started([])
    assert process.begun == [("guess",)]


def test_the_end_of_a_run_waits_a_while_and_no_longer(
    process: type[FakeProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_LEAST_WAIT_SECONDS", "_MOST_WAIT_SECONDS", "_LOOK_SECONDS"):
        monkeypatch.setattr(baselines, name, 0.01)
    said: list[str] = []
    one = of_run(process, a_store(), said, ["guess"])
    one.started([])
    one.conclude(StopRequest())
    one.close()
    assert said[0].startswith("waiting for baselines (guess), for ")
    assert said[1:] == ["not done in time: baseline guess; the next run trains what is missing"]


def test_a_run_that_is_asked_to_stop_waits_for_none(process: type[FakeProcess]) -> None:
    stop = StopRequest()
    stop.out_of_time = True
    one = of_run(process, a_store(), [], ["guess"])
    one.started([])
    one.conclude(stop)


def test_a_metric_that_is_no_number_is_a_failure(process: type[FakeProcess]) -> None:
    store, said = a_store(), list[str]()
    process.answers = [("guess", {**DONE, "value": float("nan")})]
    one = of_run(process, store, said, ["guess"])
    one.started([])
    one.conclude(StopRequest())
    assert store.get(BASELINES_KEY) == {"guess": {"failed": "its dev metric is no number", "sha256": "a"}}
    assert "baseline guess failed: its dev metric is no number" in said


def test_data_that_do_not_fit_into_memory_twice_have_none(
    monkeypatch: pytest.MonkeyPatch, with_baselines: None
) -> None:
    monkeypatch.setattr(beside, "room_for", lambda data, streamed: "it is large")
    said: list[str] = []
    one = of_run(partial(BaselinesBeside, spec(), StudyPaths(Path("x"))), a_store(), said)
    one.started([])
    one.conclude(StopRequest())
    one.close()
    assert said == ["no baselines: it is large"]


def test_a_process_that_cannot_be_started_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch, with_baselines: None
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("too many processes")

    monkeypatch.setattr(beside, "fork_server", lambda spec: multiprocessing.get_context("fork"))
    monkeypatch.setattr(multiprocessing.context.ForkProcess, "start", refuse)
    said: list[str] = []
    one = of_run(partial(BaselinesBeside, spec(), StudyPaths(Path("x"))), a_store(), said)
    one.started([])
    one.conclude(StopRequest())
    one.close()
    assert said == ["no baselines: their process cannot be started (too many processes)"]


def test_those_that_were_lost_with_their_machine_are_begun_again_elsewhere(process: type[FakeProcess]) -> None:
    process.answers = [("guess", DONE)]
    one = of_run(process, a_store(), [], ["guess", "linear"])
    one.started([])
    one.epochs(None, [])  # type: ignore[arg-type]
    process.last.ended = process.last.was_lost = True
    process.answers = [("linear", DONE)]
    one.conclude(StopRequest())
    assert process.begun == [("guess", "linear"), ("linear",)]


def test_own_training_code_and_off_have_none(process: type[FakeProcess]) -> None:
    own = SweepSpec.model_validate({"study": "s", "command": "echo {a}", "objective": {"metric": "accuracy"}})
    assert baselines.wanted(own, FACTS) == ()
    assert baselines.wanted(spec("off"), FACTS) == ()
    assert baselines.wanted(spec(), FACTS) == ("guess", "linear", "boosting", "forest")
    assert baselines.wanted(spec(["forest", "guess"]), FACTS) == ("guess", "forest")


@pytest.mark.deep
@pytest.mark.parametrize("folds", [None, FoldsSpec(count=3, repeats=2)])
def test_a_sweep_of_a_table_is_held_against_them(
    tmp_path: Path, with_baselines: None, quick_apart: None, monkeypatch: pytest.MonkeyPatch, folds: FoldsSpec | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(beside, "_NICENESS", 0)
    for name in ("_LEAST_WAIT_SECONDS", "_MOST_WAIT_SECONDS"):
        monkeypatch.setattr(baselines, name, 3600.0)
    sweep = SweepSpec(
        study="s", data=DataSpec(source="sklearn/wine", folds=folds), model=ModelSpec(kind="linear"),
        training=TrainingSpec(epochs=2), search=SearchSpec(trials=2, strategy="random"),
        baselines=["guess", "linear"],
    )  # fmt: skip
    options = RunOptions(results=tmp_path, engine="inline")
    lines = Lines()
    run = StudyRun(sweep, options, lines, StopRequest())
    assert run.run().complete
    paths = StudyPaths((tmp_path / "s").resolve())
    first = read_study(paths, study="s")
    assert set(first.facts[BASELINES_KEY]) == {"guess", "linear"}, lines.lines
    analysis = Analysis(first, paths)
    guess, linear = analysis.baselines
    predicted, targets = np.load(paths.baseline("linear")), np.load(paths.dev_targets)
    right = predicted.argmax(axis=1) == targets
    assert linear.value == pytest.approx(right.mean(), abs=0.02)  # of folds, which differ in size, the mean
    assert linear.value > guess.value
    if folds is not None:
        assert analysis.statistics.scores is not None
        assert (len(targets), analysis.statistics.scores.num_examples) == (2 * 143, 143)
        assert np.bincount(np.load(paths.dev_examples)).tolist() == [2] * 143
        assert "A score is the mean of 3 folds, shared out 2 times" in " ".join(summarise(analysis).certainty)
        assert len(set(analysis.mistakes[0].worst()["row"])) == 50
    assert linear.interval is not None
    assert linear.lead_interval is not None
    assert baseline_verdict(analysis)
    assert "baselines" in paths.leaderboard_json.read_text()
    again = Lines()
    StudyRun(sweep, options, again, StopRequest()).run()
    assert not [line for line in again.lines if "baseline" in line]
    assert run_command_line(["test", "s", "--results", str(tmp_path)]) == 0
    assert "Baselines on the same test examples: guess " in capsys.readouterr().out
    tested = read_study(paths, study="s")
    stored = tested.facts["tests"][0]["baselines"]
    predicted, targets = np.load(paths.tested("linear")), np.load(paths.tested("targets"))
    assert stored["linear"]["value"] == pytest.approx((predicted.argmax(axis=1) == targets).mean())
    guess, linear = Analysis(tested, paths).tested_baselines
    assert linear.interval is not None
    assert linear.interval.low == pytest.approx(stored["linear"]["interval"][0])
    assert linear.lead == pytest.approx(tested.facts["tests"][0]["value"] - linear.value)


def test_all_examples_in_their_order_are_taken_without_a_copy() -> None:
    import torch

    from tuner.execute.baselines import _taken

    examples = torch.randn(6, 3)
    assert _taken(examples, torch.arange(6)) is examples
    for rows in (torch.arange(5), torch.tensor([1, 0, 2, 3, 4, 5])):
        assert _taken(examples, rows).equal(examples[rows])


def test_examples_on_disk_are_read_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from tuner.data.stored import StreamedInputs
    from tuner.execute import baselines

    whole, read = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32), []

    def prepare(rows: np.ndarray) -> np.ndarray:
        read.append(len(rows))
        return whole[rows]

    monkeypatch.setattr(baselines, "BLOCK_BYTES", 8 * 3 * 4)
    streamed: Any = StreamedInputs(prepare, whole.shape, torch.device("cpu"))
    rows = torch.arange(0, 50, 2)
    assert np.array_equal(baselines._taken(streamed, rows), whole[rows])
    assert read == [8, 8, 8, 1]
