"""Predicts with the network beside this file. It needs torch and numpy, not tuner and not the training data.

Where there is a folder `code`, the network is your own code, and needs what that imports.

    python predict.py examples.csv      # a line of names, unless the training file had none; then the examples
    python predict.py inputs.npy        # one row for each example, in the shape of the training inputs

Predictions go to stdout as CSV. `predict` is there to import.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
MISSING = {"", "?", "na", "n/a", "null", "none", "nan"}


def predict(inputs: np.ndarray[Any, Any] | Sequence[dict[str, str]]) -> np.ndarray[Any, Any]:
    """Class probabilities, or predicted targets in their own units, shape (examples, outputs).

    Args:
        inputs: An array of raw inputs, (examples, ...), or a dict of column texts for each example.
    """
    prepared = _from_array(inputs) if isinstance(inputs, np.ndarray) else _from_rows(inputs)
    with torch.no_grad():
        network = _network()
        outputs = [network(chunk) for chunk in torch.split(torch.from_numpy(prepared), 1024)]
    return np.asarray(torch.cat(outputs).numpy())


def _network() -> Callable[[torch.Tensor], torch.Tensor]:
    """The traced network; where it could not be traced, it is built by your own code."""
    if not (HERE / "network.json").exists():
        return torch.export.load(HERE / "network.pt2").module()
    spec = importlib.util.spec_from_file_location("network_beside_predict", HERE / "network.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loaded: Callable[[torch.Tensor], torch.Tensor] = module.load()
    return loaded


def _known() -> dict[str, Any]:
    known: dict[str, Any] = json.loads((HERE / "preparation.json").read_text(encoding="utf-8"))
    return known


def _normalised(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    known = _known()
    mean, std, constant = (np.array(known[name]) for name in ("mean", "std", "constant"))
    if not known["normalise"]:
        return np.where(np.isnan(values), mean, values)
    centred = (values - mean) / std
    return np.where(constant, 0.0, np.where(np.isnan(centred), 0.0, centred))


def _from_array(inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    known = _known()
    values = inputs.astype(np.float64)
    if known["bytes"]:
        values /= 255.0
    values = values.reshape(len(values), *known["shape"])
    marks = np.isnan(values[:, known["marked"]]) if values.ndim == 2 else None
    numbers = _normalised(values)
    return (numbers if marks is None else np.concatenate([numbers, marks], axis=1)).astype(np.float32)


def _from_rows(rows: Sequence[dict[str, str]]) -> np.ndarray[Any, Any]:
    known = _known()
    if not known["names"] and not known["texts"]:
        raise SystemExit("the inputs have no names: give them as a .npy file")
    rows = [_with_date_parts(row, known["dates"]) for row in rows]
    missing = [n for n in [*known["names"], *(t["name"] for t in known["texts"])] if rows and n not in rows[0]]
    if missing:
        raise SystemExit(f"there is no column {', '.join(missing)}")
    numbers = np.array([[_number(row[name]) for name in known["names"]] for row in rows], dtype=np.float64)
    numbers = numbers.reshape(len(rows), len(known["names"]))
    texts = [
        [_category(row[text["name"]]) if text["whole"] else " ".join(row[text["name"]].split()) for row in rows]
        for text in known["texts"]
    ]
    columns = [
        _normalised(numbers),
        *(
            np.array([[value == text for text in column["values"]] for value in values]).reshape(len(rows), -1)
            for column, values in zip(known["texts"], texts, strict=True)
        ),
        np.isnan(numbers[:, known["marked"]]),
        *(
            np.array([[value.lower() in MISSING] for value in values])
            for column, values in zip(known["texts"], texts, strict=True)
            if column["marked"]
        ),
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _number(text: str) -> float:
    return float("nan") if text.strip().lower() in MISSING else float(text)


def _with_date_parts(row: dict[str, str], dates: Sequence[str]) -> dict[str, str]:
    """The row with the year, month, weekday and days since 1970 of each date, in UTC."""
    found = dict(row)
    for name in dates:
        text = row.get(name, "").strip()
        if name not in row:
            continue
        parts: list[object] = [""] * 4
        if text.lower() not in MISSING:
            when = datetime.fromisoformat(text)
            when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
            days = (when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() / 86400
            parts = [when.year, when.month, when.weekday(), days]
        names = [f"{name}.{part}" for part in ("year", "month", "weekday", "days")]
        found |= dict(zip(names, map(str, parts), strict=True))
    return found


def _category(text: str) -> str:
    """The name of a category that was said to be one: 1, 1.0 and 01 are the same."""
    text = " ".join(text.split())
    try:
        number = float(text)
    except ValueError:
        return text
    if text.lstrip("+-").isdigit():
        return str(int(text))
    return str(int(number)) if number == number // 1 else repr(number)


def _read_rows(path: Path) -> list[dict[str, str]]:
    """The examples of a file, by the names of their columns, or where these have none by their places."""
    known = _known()
    wanted = [*known["names"], *(text["name"] for text in known["texts"]), *known["dates"]]
    text = path.read_text(encoding="utf-8-sig")
    first = next((line for line in text.splitlines() if line.strip()), "")
    mark = max(",;\t|", key=first.count)
    if mark in first:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True) if row]
    else:
        rows = [line.split() for line in text.splitlines() if line.strip()]
    if not rows:
        raise SystemExit(f"{path} is empty")
    header = [" ".join(name.split()) for name in rows[0]]
    if not known["headerless"] or set(wanted) & set(header):
        return [dict(zip(header, row, strict=False)) for row in rows[1:]]
    places = [int(name.removeprefix("column_").split(".")[0]) for name in wanted]
    if short := next((i for i, row in enumerate(rows, start=1) if len(row) < max(places)), None):
        raise SystemExit(
            f"row {short} has {len(rows[short - 1])} fields, and the inputs are fields {min(places)} to {max(places)} "
            "of the training file: give each in its place, and leave the target's empty"
        )
    return [{f"column_{place}": text for place, text in enumerate(row, start=1)} for row in rows]


def main(path: Path) -> None:
    """Print a prediction for each example of a file."""
    if path.suffix == ".npy":
        outputs = predict(np.load(path))
    else:
        outputs = predict(_read_rows(path))
    names = _known()["outputs"]
    is_class = _known()["task"] == "classification"
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([*(["class"] if is_class else []), *names])
    for row in outputs:
        out.writerow([*([names[int(row.argmax())]] if is_class else []), *(f"{value:.6g}" for value in row)])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
