"""Real tables: what tuner's default sweep answers by against scikit-learn's models, at equal splits.

    nice .venv/bin/python benchmarks/tables.py [--seeds 0 1 2 3 4] [--tables NAME ...] [--model NAME] [--development]

For each table and seed, a sweep file that names the data, the model, the metric and the seed is written; `tuner run`
and `tuner test` are called as a user would. What is judged is the study's answer, which it chooses on dev: the winner,
or the mean of the best trials' predictions; the winner is shown, too. The split is tuner's own 60/20/20, drawn by
`data.seed`. HistGradientBoosting and a random forest with their defaults, and
logistic or ridge regression, are fitted to the same training rows and judged on the same test rows; boosting gets the
columns as they are, categories as such, and is fitted once more to train and dev together. Where it was left, it goes
on: what is measured is added to a JSON file. Scores are the share of wrong classes, or the RMSE: less is better.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tables_at_hand import DEVELOPMENT, JUDGES, RealTable, frame_of

from tuner.data.load import load_training_data
from tuner.spec.reader import read_sweep

SEEDS = (0, 1, 2, 3, 4)
_TEST_TO_TRAIN = 0.2 / 0.6
_LEVEL = 0.05
_RIVALS = ("boosting", "forest", "linear", "boosting_with_dev")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--tables", nargs="+")
    parser.add_argument("--model", default="", help="of the sweep file; left out if empty")
    parser.add_argument("--workers", type=int, help="of each sweep; as many as cores by default")
    parser.add_argument("--development", action="store_true", help="the tables that defaults were chosen on")
    parser.add_argument("--found", type=Path, default=Path("results/tables.json"), help="what has been measured")
    parser.add_argument("--show", action="store_true", help="only print what has been measured")
    asked = parser.parse_args()
    tables = DEVELOPMENT if asked.development else JUDGES
    names = asked.tables or list(tables)
    found: dict[str, Any] = json.loads(asked.found.read_text()) if asked.found.exists() else {}
    for seed in () if asked.show else asked.seeds:
        for name in names:
            key = f"{name} {asked.model or 'default'} {seed}"
            if key not in found:
                found[key] = measure(tables[name], model=asked.model, seed=seed, workers=asked.workers)
                asked.found.parent.mkdir(parents=True, exist_ok=True)
                asked.found.write_text(json.dumps(found, indent=1))
                print(key, {k: round(v, 4) for k, v in found[key].items()}, flush=True)
    print_found(found, names, asked.model or "default")


def measure(table: RealTable, *, model: str, seed: int, workers: int | None) -> dict[str, float]:
    """Test scores of the sweep's answer, of its winner and the rivals; trials that answer; the seconds of the sweep."""
    frame = frame_of(table)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        frame.to_csv(file.with_name("table.csv"), index=False)
        file.write_text(_sweep_text(table, model=model, seed=seed))
        data = load_training_data(read_sweep(file).spec)
        assert data.train.rows is not None
        assert data.dev.rows is not None
        begun = time.perf_counter()
        _tuner("run", file, *(("--workers", str(workers)) if workers else ()), folder=folder)
        seconds = time.perf_counter() - begun
        (tested,) = json.loads(_tuner("test", file, "--json", folder=folder))
        train, dev = data.train.rows - 1, data.dev.rows - 1
    test = np.setdiff1d(np.arange(len(frame)), np.concatenate([train, dev]))
    assert len(test) == tested["examples"]
    scores = {"seconds": seconds}
    mean = tested.get("average", {"value": tested["value"], "trials": [tested["trial"]]})
    scores["averaged"] = len(mean["trials"])
    for name, value in (("winner", tested["value"]), ("tuner", mean["value"])):
        scores[name] = 1.0 - value if table.classes else value
    for rival in _RIVALS:
        rows = np.concatenate([train, dev]) if rival == "boosting_with_dev" else train
        scores[rival] = _score(rival, frame, table, rows, test, seed=seed)
    return scores


def _sweep_text(table: RealTable, *, model: str, seed: int) -> str:
    task, metric = ("classification", "accuracy") if table.classes else ("regression", "rmse")
    return (
        f"study: table\ndata: {{source: table.csv, target: {table.target}, task: {task}, seed: {seed}}}\n"
        f"objective: {{metric: {metric}}}\nsearch: {{seed: {seed}}}\nbaselines: off\n"
        + (f"model: {model}\n" if model else "")
    )


def _tuner(command: str, file: Path, *options: str, folder: str) -> str:
    arguments = [sys.executable, "-m", "tuner", command, str(file), *options]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    if done.returncode:
        raise SystemExit(f"tuner {command} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _score(
    rival: str, frame: pd.DataFrame, table: RealTable, train: np.ndarray, test: np.ndarray, *, seed: int
) -> float:
    inputs, target = frame.drop(columns=table.target), frame[table.target]
    texts = [name for name in inputs if not pd.api.types.is_numeric_dtype(inputs[name])]
    inputs[texts] = inputs[texts].astype("category")
    model = _model(rival, texts, [name for name in inputs if name not in texts], classes=table.classes, seed=seed)
    predicted = model.fit(inputs.iloc[train], target.iloc[train]).predict(inputs.iloc[test])
    truth = target.iloc[test]
    if table.classes:
        return float(np.mean(predicted != truth))
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def _model(rival: str, texts: Sequence[str], numbers: Sequence[str], *, classes: bool, seed: int) -> Any:
    if rival.startswith("boosting"):
        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        return kind(random_state=seed)
    prepared = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), list(numbers)),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), list(texts)),
    )
    if rival == "forest":
        kind = RandomForestClassifier if classes else RandomForestRegressor
        return make_pipeline(prepared, kind(random_state=seed))
    return make_pipeline(prepared, LogisticRegression(max_iter=1000) if classes else RidgeCV(np.logspace(-3, 3, 13)))


def compared(differences: Sequence[float]) -> tuple[str, float]:
    """Win, tie or loss of the first, and the two-sided p of a paired t-test over resamples (Nadeau, Bengio 2003).

    Its variance takes in that the splits share examples: 1/n + test share / train share, not 1/n.
    """
    values = np.asarray(differences)
    if len(values) < 2 or not values.any():
        return "tie", 1.0
    scale = np.sqrt(values.var(ddof=1) * (1 / len(values) + _TEST_TO_TRAIN))
    p = float(2 * stats.t.sf(abs(values.mean()) / max(scale, 1e-300), len(values) - 1))
    return ("tie" if p >= _LEVEL else "win" if values.mean() < 0 else "loss"), p


def print_found(found: Mapping[str, Mapping[str, float]], names: Sequence[str], model: str) -> None:
    """A Markdown table of means over the seeds, and counts."""
    shown = ("averaged", "winner", *_RIVALS)
    print(f"\n| table | seeds | tuner ({model}) | {' | '.join(shown)} | against boosting | seconds |")
    print(f"| --- | --- | --- |{' --- |' * len(shown)} --- | --- |")
    counts = {rival: {"win": 0, "tie": 0, "loss": 0} for rival in _RIVALS}
    as_good = 0
    for name in names:
        rows = [found[key] for seed in SEEDS if (key := f"{name} {model} {seed}") in found]
        if not rows:
            continue
        means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        verdicts = {rival: compared([row["tuner"] - row[rival] for row in rows]) for rival in _RIVALS}
        for rival, (verdict, _) in verdicts.items():
            counts[rival][verdict] += 1
        as_good += means["tuner"] <= means["boosting"]
        verdict, p = verdicts["boosting"]
        cells = [f"{means[key]:.4g}" for key in ("tuner", *shown)]
        said = f"{verdict} ({means['tuner'] / means['boosting'] - 1:+.1%}, p {p:.2f})"
        print(f"| {name} | {len(rows)} | {' | '.join(cells)} | {said} | {means['seconds']:.0f} |")
    print(f"\nmean at least as good as boosting's: {as_good} tables")
    for rival, count in counts.items():
        print(f"against {rival}: {count['win']} wins, {count['tie']} ties, {count['loss']} losses")


if __name__ == "__main__":
    main()
