"""The second step: one tier. Eight trials search the learning rate alone, and a listener prints how each ends.

    python examples/2_one_tier.py

The study is in `results/one_tier`; run it again, and it is there already. The next step is `3_whole_sweep.yaml`.
"""

from tuner.records import TrialRecord
from tuner.spec.model import SweepSpec
from tuner.sweep.run import RunOptions, run_sweep
from tuner.sweep.watcher import Watcher


class Printer(Watcher):
    """Prints each trial that has ended."""

    def ended(self, record: TrialRecord) -> None:
        rate = record.params["learning_rate"]
        print(f"{record.name} {record.state.value}: dev accuracy {record.value}, learning rate {rate:.4g}")


spec = SweepSpec(
    study="one_tier",
    data={"source": "sklearn/digits"},
    model="mlp",
    space={"learning_rate": {"low": 1e-4, "high": 1.0}},
    training={"epochs": 4},
    search={"trials": 8},
)
outcome = run_sweep(spec, RunOptions(engine="inline"), Printer())
outcome.finish()
print(f"the table: {outcome.paths.leaderboard_csv}")
