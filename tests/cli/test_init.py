"""`tuner init` on a table names what can be predicted, leaves out what is no input, and has a metric that suits."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tuner.cli.init import init
from tuner.data.load import load_training_data
from tuner.spec.reader import read_sweep


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draw = random.Random(0)
    lines = [
        f"{i + 5000},{draw.choice(['north', 'south'])},person {i},{2 + i % 9},2024-0{i % 9 + 1}-1{i % 9},,de,"
        f"{i % 13}%,{'yes' if i % 10 == 0 else 'no'},{draw.lognormvariate(0, 2):.3f}\n"
        for i in range(300)
    ]
    header = "customer_id,region,name,visits,signup,empty,country,discount,churned,revenue\n"
    (tmp_path / "cust.csv").write_text(header + "".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(init, arguments, standalone_mode=False)


@pytest.mark.slow
def test_a_table_is_looked_at_and_what_is_written_trains_on_it(folder: Path) -> None:
    found = call("c.yaml", "--data", "cust.csv")
    assert found.exception is None
    spec = read_sweep(Path("c.yaml")).spec
    assert (spec.data.target, spec.objective.metric) == ("churned", "auroc")
    assert spec.data.ignore == ["customer_id", "name", "empty", "country", "discount"]
    assert spec.data.dates == "expand"
    info = load_training_data(spec).info
    assert info.class_names == ("no", "yes")
    assert set(info.feature_names) >= {"visits", "revenue", "region=north", "signup.days"}
    text = Path("c.yaml").read_text()
    assert "  target: churned            # 2 classes: no 90 %, yes 10 %; could be predicted, too:\n" in text
    assert "  # target: region" in text
    assert "  # target: revenue          # numbers, " in text
    for reason in (
        "customer_id numbers the rows",
        "name names nearly each row (300 texts)",
        "empty is empty",
        "country has one value",
        "discount holds what is neither number nor category",
    ):
        assert f"    # {reason}\n" in text
        assert f"left out: {reason}" in found.stderr
    assert "one answer is right in 90 % of cases, so accuracy says little" in found.stderr


@pytest.mark.parametrize(("target", "metric"), [("region", "accuracy"), ("revenue", "mae"), ("visits", "accuracy")])
def test_the_metric_suits_the_target_that_is_asked_for(target: str, metric: str, folder: Path) -> None:
    assert call("c.yaml", "--data", "cust.csv", "--target", target).exception is None
    spec = read_sweep(Path("c.yaml")).spec
    assert (spec.data.target, spec.objective.metric) == (target, metric)


@pytest.mark.slow
def test_of_many_columns_that_could_be_predicted_the_likeliest_are_named(folder: Path) -> None:
    header = ",".join(f"x{number}" for number in range(30))
    rows = "".join(",".join(str((row * (n + 3)) % 7 + n) for n in range(30)) + "\n" for row in range(60))
    Path("wide.csv").write_text(f"{header}\n{rows}")
    found = call("w.yaml", "--data", "wide.csv")
    (line,) = (line for line in found.stderr.splitlines() if line.startswith("could be predicted, too: "))
    named, more = line.removeprefix("could be predicted, too: ").rsplit(", and ", 1)
    assert named.count(",") == 7
    assert more == "17 more"  # of 30 one is the target, and four are constant
    assert "  # ... and 17 more columns\n" in Path("w.yaml").read_text()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("name", '"name" cannot be predicted (names nearly each row (300 texts)); there are region, visits'),
        ("age", '"age" cannot be predicted (there is no such column); there are region'),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_those_that_can(target: str, said: str, folder: Path) -> None:
    found = call("c.yaml", "--data", "cust.csv", "--target", target)
    assert said in str(found.exception)
    assert not Path("c.yaml").exists()


def test_a_sweep_file_elsewhere_finds_the_table(folder: Path) -> None:
    Path("sweeps").mkdir()
    assert call("sweeps/c.yaml", "--data", "cust.csv").exception is None
    assert read_sweep(Path("sweeps/c.yaml")).spec.data.source == "../cust.csv"


def test_what_is_no_table_or_not_there_is_written_as_ever(folder: Path) -> None:
    for name, source in (("a.yaml", "sklearn/digits"), ("b.yaml", "later.csv"), ("d.yaml", "mine.py:load")):
        assert call(name, "--data", source).exception is None
        assert "# target: price" in Path(name).read_text()
    assert "none that is there" in str(call("e.yaml", "--data", "later.csv", "--target", "y").exception)


def test_names_of_any_kind_stay_in_their_line(folder: Path) -> None:
    names = ["true", "a: b", "it's # x", "ünï [1]", "no"]
    rows = "".join(f"{i % 7},{i % 5}.5,{i % 3},{i % 11},{'uv'[i % 2]}\n" for i in range(60))
    Path("odd.csv").write_text(",".join(names) + "\n" + rows)
    assert call("o.yaml", "--data", "odd.csv", "--target", "it's # x").exception is None
    assert read_sweep(Path("o.yaml")).spec.data.target == "it's # x"


@pytest.mark.parametrize(
    ("names", "likeliest"),
    [
        (["letter", "x1", "x2"], "letter"),  # the only one of texts
        (["x1", "price", "x2"], "price"),  # called as targets are
        (["x1", "x2", "class"], "class"),
    ],
)
def test_the_likeliest_target_is_not_always_the_last_column(names: list[str], likeliest: str, folder: Path) -> None:
    rows = "".join(f"{'uvw'[i % 3]},{i * 7 % 100}.5,{i % 4}\n" for i in range(60))
    Path("t.csv").write_text(",".join(names) + "\n" + rows)
    assert call("t.yaml", "--data", "t.csv").exception is None
    assert read_sweep(Path("t.yaml")).spec.data.target == likeliest
