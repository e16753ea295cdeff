from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from tests.report.simulate import SimulatedStudy
from tests.report.test_leaderboard import record, study
from tuner.records import TrialState
from tuner.report.analysis import Analysis
from tuner.report.tables.formats import FORMATS, to_csv, to_excel_csv, to_json, to_markdown, to_parquet
from tuner.report.tables.leaderboard import leaderboard
from tuner.report.terminal import Conclusion
from tuner.store.study_data import StudyData

HOSTILE = "=cmd()|<script>alert(1)</script>[red]\x1b[31m\nend"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def hostile() -> StudyData:
    one = replace(record(0, 0.8), params={HOSTILE: HOSTILE}, reason=HOSTILE)
    return replace(study(one), name=HOSTILE)


def test_csv_reads_back_to_the_same_values(mixed: SimulatedStudy) -> None:
    frame = leaderboard(mixed.study)
    again = pd.read_csv(io.StringIO(to_csv(frame, mixed.study)))
    assert list(again.columns) == list(frame.columns)
    assert again["dev_accuracy"].tolist() == frame["dev_accuracy"].tolist()
    assert again["rank"].isna().sum() == frame["rank"].isna().sum()


def test_json_is_strict_and_holds_every_trial(mixed: SimulatedStudy) -> None:
    broken = replace(record(99, float("nan")), state=TrialState.FAILED)
    data = replace(mixed.study, records=(*mixed.study.records, broken))
    document = json.loads(to_json(leaderboard(data), data), parse_constant=pytest.fail)
    assert len(document["trials"]) == len(data.records)
    assert document["trials"][0]["rank"] == 1
    assert document["trials"][-1]["dev_accuracy"] is None


def test_csv_keeps_hostile_text_as_data_and_excel_mode_disarms_it(hostile: StudyData) -> None:
    frame = leaderboard(hostile)
    assert next(csv.DictReader(io.StringIO(to_csv(frame, hostile))))[HOSTILE] == HOSTILE
    row = next(csv.DictReader(io.StringIO(to_excel_csv(frame, hostile))))
    assert row[f"'{HOSTILE}"] == f"'{HOSTILE}"
    assert row["dev_accuracy"] == "0.8"


def test_excel_mode_leaves_negative_numbers_alone() -> None:
    frame = leaderboard(study(record(0, 0.95)))
    assert frame["gap"][0] < 0
    assert "'-" not in to_excel_csv(frame, study())


def test_markdown_has_one_line_for_each_trial_whatever_the_names(hostile: StudyData) -> None:
    text = to_markdown(leaderboard(hostile), hostile)
    assert len(text.splitlines()) == 3
    assert "<script>" not in text
    assert "\x1b" not in text
    header, rule, row = (line.replace("\\|", "").count("|") for line in text.splitlines())
    assert header == rule == row


def test_parquet_takes_columns_of_mixed_types() -> None:
    pytest.importorskip("pyarrow")
    mixed_types = study(replace(record(0, 0.8), params={"x": 1}), replace(record(1, 0.7), params={"x": "full"}))
    again = pd.read_parquet(io.BytesIO(to_parquet(leaderboard(mixed_types), mixed_types)))
    assert again["x"].tolist() == ["1", "full"]
    assert again["trial"].tolist() == [0, 1]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_a_study_without_trials(name: str) -> None:
    assert FORMATS[name](leaderboard(study()), study())


def test_a_pipe_gets_tab_separated_lines(mixed: SimulatedStudy) -> None:
    stream = io.StringIO()
    Conclusion.of(Analysis(mixed.study, None), top=5).print(stream=stream)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[0].split("\t")[:3] == ["rank", "trial", "state"]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_table_never_wraps_and_names_what_it_left_out(
    mixed: SimulatedStudy, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    Conclusion.of(Analysis(mixed.study, None), top=5).print(stream=stream)
    plain = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue())
    rows = [line for line in plain.splitlines() if re.match(r" +=?[1-5] +\d", line)]
    assert len(rows) == 5
    assert all(len(line) <= columns for line in plain.splitlines())
    assert ("Not shown" in stream.getvalue()) == (columns < 200)
    assert "40 trials" in stream.getvalue()


def test_hostile_names_reach_a_terminal_as_plain_text(hostile: StudyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    stream = Terminal()
    Conclusion.of(Analysis(hostile, None)).print(stream=stream)
    assert "\x1b[31m" not in stream.getvalue()
    assert "[red]" in stream.getvalue()
