"""The report's advice, followed by a program: is the next sweep's winner better on fresh splits of the data?

    nice .venv/bin/python benchmarks/advice.py [--tables NAME ...] [--seed 0] [--found advice.json] [--show]

For each table of `tables_for_advice.py`, `tuner init` writes the sweep file, whose budget is made small. It is run;
what the report calls `Next` is written into the file (`advice_followed.py`), and the file is run again, three rounds at
most. A round is judged by both winners, before and after: each is trained anew, from its `best/sweep.yaml`, on `SPLITS`
other splits of the table and from other seeds, and scored on the dev sets of these. They have chosen nothing, so that
both figures are honest, and the two are compared example by example.

A round improves if the mean difference over the splits is above zero. It is within noise unless it is worse by more
than 1.96 standard errors: those of the paired bootstrap, or where that is more of the differences between splits. Where
the advice asks for nothing that a sweep file can say, the table has stopped: `stop` if nothing is to be done but the
test, else `outside`, such as more data. Where it was left, it goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from advice_followed import Followed, follow
from ruamel.yaml import YAML
from tables_at_hand import RealTable, frame_of
from tables_for_advice import TABLES

import tuner
from tuner.cli.main import run_command_line
from tuner.paths import StudyPaths
from tuner.report.advice import advice
from tuner.report.analysis import Analysis
from tuner.report.certainty.dev_scores import load_array, scores_of
from tuner.report.figures import table
from tuner.store.reader import read_study

ROUNDS = 3
SPLITS = (101, 102, 103)
_BUDGET: Mapping[str, Any] = {"trials": 16, "finalists": {"count": 3, "seeds": 2}}
_QUANTILE = 1.96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the search")
    parser.add_argument("--found", type=Path, default=Path("results/advice.json"), help="what has been measured")
    parser.add_argument("--show", action="store_true", help="only print what has been measured")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    table.drawn = lambda analysis: iter(())  # figures are most of what so small a run costs, and nobody looks at them
    found: dict[str, Any] = json.loads(asked.found.read_text()) if asked.found.exists() else {}
    for name in () if asked.show else asked.tables:
        key = f"{name} {asked.seed}"
        if key not in found:
            found[key] = follow_advice(TABLES[name], seed=asked.seed)
            asked.found.parent.mkdir(parents=True, exist_ok=True)
            asked.found.write_text(json.dumps(found, indent=1))
            for one in found[key]:
                print(key, _line(one), flush=True)
    print_found(found)


def follow_advice(of: RealTable, *, seed: int) -> list[dict[str, Any]]:
    """The rounds of a table: what the report said, what was made of it, and what that did."""
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        frame_of(of).to_csv(root / "table.csv", index=False)
        target = ["--target", of.target]
        assert run_command_line(["init", str(root / "s0.yaml"), "--data", str(root / "table.csv"), *target]) == 0
        document = YAML(typ="safe").load((root / "s0.yaml").read_text())
        document["data"]["seed"] = document["search"]["seed"] = seed
        document["search"]["trials"], document["finalists"] = _BUDGET["trials"], dict(_BUDGET["finalists"])
        document["baselines"] = "auto"
        before = _run(root, document, "s0")
        for number in range(1, ROUNDS + 1):
            step = advice(before)
            said = {"round": number, "key": step.key, "change": step.change, "why": step.why}
            outcome = follow(document, step.key, step.change)
            if outcome is not Followed.CHANGED:
                return [*rounds, {**said, "outcome": outcome.value}]
            after = _run(root, document, f"s{number}")
            rounds.append({**said, **_judged(root, before, after)})
            before = after
    return rounds


def _run(root: Path, document: dict[str, Any], study: str) -> Analysis:
    document["study"] = study
    file = root / f"{study}.yaml"
    with file.open("w") as stream:
        YAML(typ="safe").dump(document, stream)
    tuner.run(file, engine="inline", results=root / "results", quiet=True)
    return _analysis(root, study)


def _analysis(root: Path, study: str) -> Analysis:
    paths = StudyPaths(root / "results" / study)
    return Analysis(read_study(paths, study=study), paths)


def _judged(root: Path, before: Analysis, after: Analysis) -> dict[str, Any]:
    """Both winners on the dev sets of fresh splits."""
    differences, errors, values = [], [], []
    sign = before.study.direction.sign
    for split in SPLITS:
        one, other = (_trained_again(root, analysis, split) for analysis in (before, after))
        (own,), (theirs,) = one.study.records, other.study.records
        assert one.paths is not None
        assert other.paths is not None
        targets = load_array(one.paths.dev_targets)
        if targets is None or own.value is None or theirs.value is None:
            continue  # it diverged there
        candidates = [
            (0, own.value, one.paths.trial(own.number).predictions),
            (1, theirs.value, other.paths.trial(theirs.number).predictions),
        ]
        scores = scores_of(candidates, metric=before.study.metric, targets=targets)
        assert scores is not None
        differences.append(sign * (theirs.value - own.value))
        errors.append(float((scores.samples[:, 1] - scores.samples[:, 0]).std()))
        values.append((own.value, theirs.value))
    if not differences:
        return {"outcome": "not known"}
    mean, count = float(np.mean(differences)), len(differences)
    between = float(np.var(differences, ddof=1)) if count > 1 else 0.0
    error = float(np.sqrt(max(float(np.mean(np.square(errors))), between) / count))
    outcome = "better" if mean > 0 else "within noise" if mean >= -_QUANTILE * error else "worse"
    first, second = (float(np.mean(each)) for each in zip(*values, strict=True))
    return {"outcome": outcome, "before": first, "after": second, "gain": mean, "error": error}


def _trained_again(root: Path, analysis: Analysis, split: int) -> Analysis:
    """The winner's configuration on another split, from another seed."""
    assert analysis.paths is not None
    name = f"{analysis.study.name}-{split}"
    if not (root / "results" / name).exists():
        place = analysis.paths.best / "sweep.yaml"
        document = YAML(typ="safe").load(place.read_text())
        document["study"], document["data"]["seed"], document["baselines"] = name, split, "off"
        document["search"]["trial_seed"] = split
        document["data"].pop("folds", None)  # judged on one dev set each, whatever the search ranked by
        file = place.with_name(f"{name}.yaml")
        with file.open("w") as stream:
            YAML(typ="safe").dump(document, stream)
        tuner.run(file, engine="inline", results=root / "results", quiet=True)
    return _analysis(root, name)


def _line(one: Mapping[str, Any]) -> str:
    gain = ""
    if "gain" in one:
        gain = (
            f" ({one['before']:.4g} -> {one['after']:.4g}, gain {one['gain']:+.3g} +- {_QUANTILE * one['error']:.2g})"
        )
    return f"round {one['round']}: {one['key'] or '(no key)'}: {one['change']}: {one['outcome']}{gain}"


def print_found(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """A Markdown table of the kinds of advice, and the shares."""
    rounds = [one for each in found.values() for one in each]
    judged = [one for one in rounds if "gain" in one]
    print("\n| advice | rounds | better | within noise | worse |\n| --- | --- | --- | --- | --- |")
    for key in sorted({one["key"] for one in judged}):
        counts = Counter(one["outcome"] for one in judged if one["key"] == key)
        print(f"| {key} | {counts.total()} | {counts['better']} | {counts['within noise']} | {counts['worse']} |")
    counts = Counter(one["outcome"] for one in rounds)
    good = counts["better"] + counts["within noise"]
    share = f", {good / len(judged):.0%} better or within noise" if judged else ""
    print(f"\n{len(found)} tables, {len(judged)} rounds{share}; {dict(counts)}")


if __name__ == "__main__":
    main()
