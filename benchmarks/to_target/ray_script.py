"""Ray Tune with ASHA as in its PyTorch guide, one trial on each core; runs in Ray's own environment, without tuner."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))
os.environ["PYTHONPATH"] = str(BENCHMARKS)  # for Ray's workers
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import ASHAScheduler  # noqa: E402
from to_target.best import Best  # noqa: E402


def trainable(config: dict) -> None:  # type: ignore[type-arg]
    import torch
    from baselines import train_typical
    from to_target.arrays import load

    torch.set_num_threads(1)
    job = config.pop("job")
    data = load(Path(job["arrays"]))

    def report(accuracy: float, epoch: int) -> None:
        tune.report({"accuracy": accuracy, "epoch": epoch + 1, "seen": time.time()})

    train_typical(config, data, epochs=job["epochs"], report=report)


class AtTarget(tune.Stopper):
    """Ends the experiment at the target or when its time is up."""

    def __init__(self, target: float, seconds: float) -> None:
        self.best = Best(target)
        self.until = time.time() + seconds

    def __call__(self, trial_id: str, result: dict) -> bool:  # type: ignore[type-arg]
        return self.best.saw(result["accuracy"], result["seen"])

    def stop_all(self) -> bool:
        return self.best.reached or time.time() > self.until


def main(job: dict) -> None:  # type: ignore[type-arg]
    ray.init(num_cpus=job["cores"], include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    space = {
        "learning_rate": tune.loguniform(1e-4, 1.0),
        "momentum": tune.uniform(0.5, 0.99),
        "batch_size": tune.choice([32, 64, 128, 256]),
        "hidden_units": tune.lograndint(16, 257),
        "hidden_layers": tune.randint(1, 5),
        "dropout": tune.uniform(0.0, 0.6),
        "weight_decay": tune.loguniform(1e-6, 1e-1),
        "job": job,
    }
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=job["trials"],
            scheduler=ASHAScheduler(time_attr="epoch", max_t=job["epochs"], grace_period=1, reduction_factor=3),
            search_alg=tune.search.basic_variant.BasicVariantGenerator(random_state=job["seed"]),
        ),
        run_config=tune.RunConfig(storage_path=job["folder"], stop=AtTarget(job["target"], job["budget"]), verbose=0),
    )
    tuner.fit()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
