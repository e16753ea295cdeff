"""A whole sweep of networks of several sizes on a GPU, pretended where there is none: the search starts cohorts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tuner.cli.main import run_command_line
from tuner.execute import training
from tuner.paths import StudyPaths
from tuner.records import TrialState
from tuner.store.reader import read_study

SWEEP = """
study: sizes
data: {source: sklearn/digits}
model: mlp
space:
  learning_rate: {low: 0.001, high: 0.1}
  batch_size: {choices: [256, 512]}
  hidden_units: {low: 8, high: 40}
  hidden_layers: {low: 1, high: 3}
training: {epochs: 2}
search: {trials: 12}
finalists: null
"""


@pytest.mark.gpu
@pytest.mark.deep
def test_a_sweep_trains_whole_cohorts_of_several_sizes(
    gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_quick_as_a_gpu(device: torch.device) -> dict[str, float]:
        return {"overhead_seconds": 5e-6, "flops_per_second": 2e13}

    monkeypatch.setattr(training, "_calibrate", as_quick_as_a_gpu)
    monkeypatch.chdir(tmp_path)
    Path("sizes.yaml").write_text(SWEEP)
    assert run_command_line(["run", "sizes.yaml", "--engine", "inline", "--devices", gpu, "-q"]) == 0
    records = read_study(StudyPaths(tmp_path / "results" / "sizes"), study="sizes").records
    assert [record.state for record in records] == [TrialState.COMPLETE] * 12
    assert [record.facts["cohort_width"] for record in records] == [4] * 12
    cohorts = [records[first : first + 4] for first in (0, 4, 8)]
    for cohort in cohorts:
        assert len({record.params["batch_size"] for record in cohort}) == 1
    assert max(len({record.params["hidden_layers"] for record in cohort}) for cohort in cohorts) > 1
