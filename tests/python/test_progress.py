"""What a run says of its progress, on a terminal and elsewhere."""

from __future__ import annotations

import logging
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from tuner.python.progress import _LiveProgress, open_progress
from tuner.python.tally import Tally
from tuner.records import Direction, EpochResult, TrialRecord, TrialState
from tuner.spec.model import DataSpec, FinalistsSpec, SearchSpec, SweepSpec, TrainingSpec


def test_a_warning_is_one_line_in_a_pipe_however_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own, which are there only in a test
    text = "the network is trained one trial at a time: " + "a long reason, " * 20
    with open_progress(SweepSpec(study="s", data=DataSpec(source="d")), log_level=logging.WARNING):
        logging.getLogger("tuner.execute").warning("%s\x1b[2J", text)
    assert capsys.readouterr().err == f"WARNING {text}\\x1b[2J\n"


def trial(number: int, value: float | None, state: TrialState = TrialState.COMPLETE, tier: str = "all") -> TrialRecord:
    best = None if value is None else EpochResult(
        epoch=3, train_loss=0.1, dev_loss=0.1, train_metric=value, dev_metric=value, learning_rate=0.1, seconds=1.0
    )  # fmt: skip
    return TrialRecord(number=number, params={}, seed=1, state=state, tier=tier, best=best, last=best)


def standing(*before: TrialRecord, metric: str = "rmse", direction: Direction = Direction.MINIMIZE) -> Tally:
    spec = SweepSpec(study="s", data=DataSpec(source="d"), search=SearchSpec(trials=8), finalists=FinalistsSpec())
    found = Tally(spec)
    found.open(before, metric=metric, direction=direction)
    return found


def test_a_run_that_goes_on_counts_from_what_earlier_runs_have_left() -> None:
    now = standing(trial(0, 3.0), trial(1, 2.0), trial(2, None, TrialState.FAILED), trial(3, 5.0, TrialState.PAUSED))
    assert (now.ended, now.due) == (3, 8)
    assert now.best is not None
    assert now.best.number == 1
    now.update([trial(2, None, TrialState.RUNNING)])
    assert now.ended == 2  # it failed, and is tried again
    now.end(trial(2, 2.5))
    assert now.ended == 3


@pytest.mark.parametrize(("direction", "is_better"), [(Direction.MINIMIZE, True), (Direction.MAXIMIZE, False)])
def test_what_is_best_goes_by_the_direction_that_was_measured_not_by_the_name_auto(
    direction: Direction, is_better: bool
) -> None:
    now = standing(trial(0, 3.0), direction=direction)
    assert now.better(trial(1, 2.0)) == is_better
    assert not now.better(trial(2, 1.0 if is_better else 9.0, TrialState.PRUNED))


def test_finalists_are_counted_apart_from_trials() -> None:
    now = standing(trial(0, 3.0), trial(1, 2.0))
    now.open([trial(0, 3.0, tier="finalist")], metric="rmse", direction=Direction.MINIMIZE)
    assert (now.ended, now.due) == (2, 8)
    now.update([trial(1, None, TrialState.RUNNING, tier="finalist")])
    assert (now.ended, now.due) == (1, 15)
    now.end(trial(1, 1.0, tier="finalist"))
    assert now.ended == 2
    assert not now.better(trial(1, 1.0, tier="finalist"))


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [("rmse", 123456.7, "123457"), ("rmse", 0.000012, "1.2e-05"), ("accuracy", 0.97123, "0.9712")],
)
def test_a_value_has_the_digits_of_its_metric(
    metric: str, value: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_progress(SweepSpec(study="s", data=DataSpec(source="d")), log_level=logging.WARNING) as progress:
        progress.opened([], metric=metric, direction=Direction.MINIMIZE)
        progress.ended(trial(4, value))
    assert capsys.readouterr().err.startswith(f"trial 4 complete: dev {said}, 3 epochs")


def test_the_live_display_of_a_run_that_goes_on_begins_with_what_there_is() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=100, highlight=False, color_system=None)
    display = _LiveProgress(SweepSpec(study="s", data=DataSpec(source="d"), search=SearchSpec(trials=8)), console)
    console.print(display._render())
    assert "0/? 0:00:00 starting" in console.file.getvalue()  # type: ignore[attr-defined]
    display.opened([trial(0, 31234.5), trial(1, 41234.5)], metric="rmse", direction=Direction.MINIMIZE)
    console.print(display._render())
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "2/8" in said
    assert "best: trial 0, dev rmse 31234" in said


def test_what_is_left_follows_the_epochs_and_how_early_trials_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 12.0, 24.0, 36.0])
    monkeypatch.setattr("tuner.python.tally.time", SimpleNamespace(monotonic=lambda: next(moments)))
    spec = SweepSpec(
        study="s", data=DataSpec(source="d"), search=SearchSpec(trials=8, strategy="random"),
        training=TrainingSpec(epochs=6),
    )  # fmt: skip
    now = Tally(spec)
    assert now.seconds_left is None
    now.end(trial(0, 0.5))  # after three of its six epochs
    now.end(trial(1, 0.5))
    # Six epochs in twelve seconds; of all eight trials together 24 are expected, by those that stopped half-way.
    assert now.seconds_left == pytest.approx((24 - 6) * 2.0)
    for number in range(2, 8):
        now.end(trial(number, 0.5))
    assert now.seconds_left == 0.0
