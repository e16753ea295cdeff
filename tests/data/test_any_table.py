"""Whatever a CSV file holds, it is loaded into finite tensors or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.data.helpers import load, sweep
from tests.depth import at_depth
from tuner.data.dataset import TrainingData
from tuner.data.test_set import load_test_split
from tuner.errors import TunerError

CELLS = [
    *[
        "1",
        "2.5",
        "-3e4",
        "0",
        "-0.0",
        "1e300",
        "1e400",
        "inf",
        "nan",
        "NA",
        "?",
        "a",
        "é",
        "True",
        "no",
        "2024-01-02",
        "1/2/2023",
        "3+",
        "[1]",
        "'",
        ",",
        "\x00",
        "\x1b[2J",
    ],
    *("", " 7 ", "12 kg", '"q,r"', '"', "9" * 30),
]


@st.composite
def tables(draw: st.DrawFn) -> str:
    separator = draw(st.sampled_from(",;\t|"))
    pools = draw(st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4), min_size=1, max_size=4))
    num_rows = draw(st.integers(0, 50))
    random = draw(st.randoms(use_true_random=False))
    lines = [separator.join(random.choice(pool) for pool in pools) for _ in range(num_rows)]
    header = draw(st.none() | st.just(separator.join("abcd"[: len(pools)])))
    return "\n".join(lines if header is None else [header, *lines])


def loaded_or_refused(root: Path, data: dict[str, Any]) -> tuple[TrainingData | None, str]:
    try:
        return load(root, source="data.csv", **data), ""
    except TunerError as error:
        return None, str(error)


@pytest.mark.slow
@settings(max_examples=at_depth(150), deadline=None)
@given(
    text=tables() | st.text(max_size=80),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16"]),
    data=st.fixed_dictionaries(
        {
            "task": st.sampled_from(["auto", "classification", "regression"]),
            "missing": st.sampled_from(["mean", "drop", "error"]),
            "normalise": st.booleans(),
        },
        optional={"dev": st.just("data.csv"), "group": st.just("a"), "order": st.just("b"), "ignore": st.just(["a"])},
    ),
)
@example(
    text="\n".join(["1,1,1,2.5"] * 8 + ["1,1,1,1"] * 3 + ["1,1,1,2.5"] * 2 + ["1,1,1,1"] * 3),
    encoding="utf-8",
    data={"task": "auto", "missing": "mean", "normalise": False, "dev": "data.csv"},
)
def test_any_table_is_loaded_or_refused(
    text: str, encoding: str, data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp()
    (root / "data.csv").write_bytes(text.encode(encoding, errors="ignore"))
    loaded, message = loaded_or_refused(root, data)
    assert message.isprintable(), "one line, and nothing that controls a terminal"
    if loaded is None:
        assert message
        return
    for split in (loaded.train, loaded.dev):
        assert len(split)
        assert split.inputs.isfinite().all()
        assert split.targets.isfinite().all()
    if loaded.info.num_test:
        assert len(load_test_split(sweep(root, source="data.csv", **data))) == loaded.info.num_test
