"""What a sweep file says of columns: categories, numbers, patterns of what is left out, dates."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.data.helpers import load_csv
from tuner.data.column_kinds import as_category
from tuner.errors import DataError, SweepFileError
from tuner.spec.reader import parse_sweep

ROWS = "".join(f"{i},{i % 3},{i % 4},{'ab'[i % 2]},{i * 7 % 11}\n" for i in range(60))
CODES = "row_id,zip_code,area_code,kind,y\n" + ROWS


def test_numbers_that_are_codes_become_categories_by_name_or_pattern(tmp_path: Path) -> None:
    plain = load_csv(tmp_path, CODES, ignore=["row_id"], target="kind")
    assert plain.info.feature_names == ("zip_code", "area_code", "y")
    data = load_csv(tmp_path, CODES, ignore=["*_id"], categorical=["*_code"], target="kind")
    assert data.info.feature_names == (
        "y", "zip_code=0", "zip_code=1", "zip_code=2", *(f"area_code={i}" for i in range(4)),
    )  # fmt: skip
    assert set(data.train.inputs[:, 1:4].sum(dim=1).tolist()) == {1.0}  # each example has one zip code


def test_a_code_is_the_same_one_however_it_is_written(tmp_path: Path) -> None:
    text = "code,x,y\n" + "".join(f"{c},{i},{'uv'[i % 2]}\n" for i, c in enumerate(["1", "1.0", "01", "", "2.5"] * 12))
    data = load_csv(tmp_path, text, categorical=["code"])
    assert data.info.feature_names == ("x", "code=1", "code=2.5", "code missing")
    assert [as_category(v) for v in (1, 1.0, "1", True, np.float64(2.5), " a  b ", None, float("nan"))] == [
        "1", "1", "1", "True", "2.5", "a b", None, None,
    ]  # fmt: skip


def test_a_column_that_must_be_numbers_takes_no_text(tmp_path: Path) -> None:
    text = "n,y\n" + "".join(f"{'3+' if i == 9 else i % 3},{'uv'[i % 2]}\n" for i in range(30))
    assert "n=0" in load_csv(tmp_path, text).info.feature_names
    with pytest.raises(DataError, match=r'^data.csv, row 10: column n holds "3\+" among numbers; correct it'):
        load_csv(tmp_path, text, numeric=["n"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"ignore": ["*_key"]}, 'data.ignore: data.csv has no column that matches "*_key"; there are row_id, zip_code'),
        ({"categorical": ["zip_cod"]}, 'data.categorical: data.csv has no column "zip_cod"; did you mean "zip_code"?'),
        ({"categorical": ["y"]}, 'data.categorical: "y" is the target, whose kind is data.task: classification'),
        ({"categorical": ["zip*"], "numeric": ["*code"]}, '"zip_code" is named by data.categorical and data.numeric'),
    ],
)
def test_what_names_no_column_or_one_twice_is_refused(data: dict[str, list[str]], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, CODES, **data)
    assert str(error.value).startswith(said)


def test_a_name_with_a_star_in_it_is_the_column_of_that_name(tmp_path: Path) -> None:
    text = CODES.replace("zip_code", "*_code")
    assert load_csv(tmp_path, text, ignore=["*_code"], target="kind").info.feature_names == ("area_code", "y")


def test_all_unusable_columns_are_told_at_once_with_the_line_that_leaves_them_out(tmp_path: Path) -> None:
    lines = [f"{i},2024-01-{i % 28 + 1:02d},name {i},{i}%,{i % 7},{'uv'[i % 2]}\n" for i in range(250)]
    text = "id,day,who,rate,x,y\n" + "".join(lines)
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, text, ignore=["id"])
    first, *listed, last_but_one, last = str(error.value).splitlines()
    assert first == "3 columns cannot be used as they are:"
    assert [re.search(r"column (\w+) holds", line)[1] for line in listed] == ["day", "rate", "who"]  # type: ignore[index]
    assert last_but_one == "mend them, or leave them out, which is all of data.ignore then:"
    assert last == "  ignore: [id, day, rate, who]"
    assert load_csv(tmp_path, text, ignore=last.split("[")[1].rstrip("]").split(", ")).info.feature_names == ("x",)


def test_several_columns_of_too_many_texts_are_told_at_once(tmp_path: Path) -> None:
    lines = [f"name {i},street {i},{i % 7},{'uv'[i % 2]}\n" for i in range(250)]
    with pytest.raises(DataError, match=r"ignore: \[who, street\]$"):
        load_csv(tmp_path, "who,street,x,y\n" + "".join(lines))


def test_dates_are_expanded_to_their_parts(tmp_path: Path) -> None:
    days = ["1970-01-02", "2024-02-29 12:00", "", "2023-12-31T18:00:00"]
    text = "x,when,y\n" + "".join(f"{i},{days[i % 4]},{'uv'[i % 2]}\n" for i in range(80))
    data = load_csv(tmp_path, text, dates="expand", normalise=False)
    names = ("x", "when.year", "when.month", "when.weekday", "when.days")
    assert data.info.feature_names == (*names, *(f"{name} missing" for name in names[1:]))
    assert "column when holds dates, and is expanded to year, month, weekday, days" in data.info.notes
    found = {tuple(row[1:5]) for row in data.train.inputs.tolist() if not row[5]}
    expected = {(1970, 1, 4, 1.0), (2024, 2, 3, 19782.5), (2023, 12, 6, 19722.75)}  # Friday, Thursday, Sunday
    assert found == {tuple(np.float32(v).item() for v in row) for row in expected}


def test_a_date_of_another_form_is_refused_with_its_row(tmp_path: Path) -> None:
    text = "x,when,y\n" + "".join(f"{i},{'31.12.2024' if i == 4 else '2024-12-31'},{'uv'[i % 2]}\n" for i in range(60))
    with pytest.raises(DataError, match=r'^data.csv, row 5: column when holds "31.12.2024" among dates, which must be'):
        load_csv(tmp_path, text, dates="expand")


@pytest.mark.parametrize("data", ["categorical: [a]", "numeric: [a]", "dates: expand"])
def test_streamed_tables_have_none_of_it(data: str, tmp_path: Path) -> None:
    with pytest.raises(SweepFileError, match=f"cannot be combined with {data.split(':')[0]}"):
        parse_sweep(f"study: s\ndata: {{source: a.csv, stream: true, {data}}}\n", name="s.yaml", root=tmp_path)
