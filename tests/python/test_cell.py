"""Progress in a notebook's cell."""

from __future__ import annotations

import pytest

from tuner.python.cell import CellProgress, is_notebook
from tuner.python.tally import Tally
from tuner.records import Direction, EpochResult, TrialRecord, TrialState
from tuner.spec.model import DataSpec, SearchSpec, SweepSpec


def record(number: int, state: TrialState) -> TrialRecord:
    last = EpochResult(
        epoch=3, train_loss=0.25, dev_loss=0.5, train_metric=0.9, dev_metric=0.75, learning_rate=0.1, seconds=1.0
    )
    return TrialRecord(number=number, params={}, seed=1, state=state, tier="<b>", best=last, last=last)


class Page:
    """What a cell has shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []


def cell(page: Page) -> CellProgress:
    class Shown(CellProgress):
        def _show(self) -> None:
            page.shown.append(self.html())

    spec = SweepSpec(study="s", data=DataSpec(source="d"), search=SearchSpec(trials=8))
    found = Shown(Tally(spec), study="s")
    found.opened([], metric="accuracy", direction=Direction.MAXIMIZE)
    return found


def test_this_is_no_notebook() -> None:
    assert not is_notebook()


@pytest.mark.slow  # for what an estimate of the time that is left imports
def test_it_shows_how_many_have_ended_the_best_and_what_is_trained() -> None:
    page = Page()
    progress = cell(page)
    progress.ended(record(0, TrialState.COMPLETE))
    progress.started([record(1, TrialState.RUNNING)])
    progress.said("tier 1 opens <script>")
    assert "1 of 8 trials · best: trial 0, dev accuracy 0.7500" in page.shown[-1]
    assert 'value="1" max="8"' in page.shown[-1]
    assert "<td>3/" in page.shown[-1]
    assert "<td>&lt;b&gt;</td>" in page.shown[-1]
    assert "tier 1 opens &lt;script&gt;" in page.shown[-1]


def test_epochs_that_come_by_the_hundred_are_shown_now_and_then() -> None:
    page = Page()
    progress = cell(page)
    progress._shown = float("inf")
    for _ in range(300):
        progress.epochs(record(1, TrialState.RUNNING), [])
    assert len(page.shown) == 1
    progress._shown = 0.0
    progress.epochs(record(1, TrialState.RUNNING), [])
    assert len(page.shown) == 2
