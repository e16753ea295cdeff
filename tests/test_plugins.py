"""What other packages add: found without being imported, used by name, and harmless where it is broken."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tuner.cli.doctor import doctor
from tuner.cli.report import report
from tuner.errors import SweepFileError, UserCodeError
from tuner.imports import load_plugin
from tuner.plugins import Kind, place_of, plugins
from tuner.python.run import run
from tuner.spec.model import SweepSpec
from tuner.spec.reader import parse_values
from tuner.track import beside

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"


def install(folder: Path, points: dict[str, dict[str, str]], *, name: str, version: str = "1.0") -> None:
    """What an installation leaves of a package's metadata."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    with (info / "entry_points.txt").open("w") as file:
        for group, found in points.items():
            file.write(f"[{group}]\n" + "".join(f"{point} = {place}\n" for point, place in found.items()))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages that Python finds."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))  # for the processes that are started
    plugins.cache_clear()
    yield folder
    plugins.cache_clear()
    for name in ("tuner_example", "broken_plugin"):
        sys.modules.pop(name, None)


@pytest.fixture
def example(site: Path) -> Path:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(site, project["entry-points"], name=project["name"], version=project["version"])
    shutil.copy(EXAMPLE / "tuner_example.py", site)
    return site


@pytest.fixture
def broken(site: Path) -> None:
    (site / "broken_plugin.py").write_text("raise RuntimeError('it was made for another version')\n")
    install(site, {"tuner.trackers": {"lost": "broken_plugin:Tracker"}}, name="broken-plugin", version="2.0")


def test_reading_a_sweep_that_names_plugins_imports_none(example: Path) -> None:
    values = {
        "study": "s", "data": {"source": "spirals"}, "model": {"kind": "narrow"}, "track": ["lines"],
        "objective": {"metric": "worst_class", "direction": "maximize"}, "search": {"strategy": "corners"},
    }  # fmt: skip
    spec, _ = parse_values(values, root=example)
    named = (spec.data.source, spec.model.kind, spec.objective.metric, spec.search.strategy, *spec.track)
    places = ("spirals", "narrow", "worst_class", "make_corners", "LinesTracker")
    assert named == tuple(f"tuner_example:{place}" for place in places)
    assert "tuner_example" not in sys.modules


def test_names_of_tuners_own_come_first_and_a_script_reports_what_it_likes(site: Path) -> None:
    points = {"tuner.models": {"mlp": "x:y"}, "tuner.metrics": {"speed": "x:y", "accuracy": "x:y"}}
    install(site, {**points, "tuner.strategies": {"tpe": "x:y"}}, name="greedy")
    spec = SweepSpec.model_validate(
        {"study": "s", "data": {"source": "d"}, "model": "mlp", "objective": {"metric": "accuracy"}}
    )
    assert (spec.model.kind, spec.objective.metric, spec.search.strategy) == ("mlp", "accuracy", "priority")
    own = {"study": "s", "command": "python t.py", "objective": {"metric": "speed", "direction": "maximize"}}
    assert SweepSpec.model_validate(own).objective.metric == "speed"


@pytest.mark.parametrize("name", ["data/houses.csv", "package.module:load", "", "no such plug-in"])
def test_what_cannot_be_a_plugins_name_stays_as_it_is(name: str) -> None:
    assert place_of("sources", name) == name


def test_a_broken_one_is_named_with_its_package(broken: None) -> None:
    with pytest.raises(UserCodeError, match=r"lost \(tuner.trackers, of broken-plugin 2.0\).*made for another version"):
        load_plugin(plugins("trackers")["lost"])


@pytest.mark.parametrize(("kind", "wanted"), [("models", "a function or a class"), ("trackers", "a class")])
def test_one_of_another_kind_is_named(site: Path, kind: Kind, wanted: str) -> None:
    (site / "odd_plugin.py").write_text("number = 3\n")
    install(site, {f"tuner.{kind}": {"odd": "odd_plugin:number"}}, name="odd-plugin")
    with pytest.raises(
        UserCodeError, match=rf"odd .* cannot be used: odd_plugin:number must be {wanted}, and is .* int"
    ):
        load_plugin(plugins(kind)["odd"])


@pytest.mark.slow
def test_the_doctor_lists_them_and_says_which_is_broken(example: Path, broken: None, tmp_path: Path) -> None:
    done = CliRunner().invoke(doctor, ["--results", str(tmp_path)], standalone_mode=False)
    assert done.return_value == UserCodeError.exit_code
    assert "corners: tuner_example:make_corners, of tuner-example 1.0" in done.stdout
    assert "PROBLEM: the plug-in lost (tuner.trackers, of broken-plugin 2.0) cannot be used" in done.stdout


def test_a_name_that_is_none_of_them_is_refused_as_ever(example: Path) -> None:
    with pytest.raises(SweepFileError, match=r"search\.strategy"):
        parse_values({"study": "s", "data": {"source": "spirals"}, "search": {"strategy": "edges"}}, root=example)


@pytest.mark.deep
def test_a_sweep_of_plugins_alone(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_LAST_SECONDS", 600.0)  # however busy the machine is
    monkeypatch.setattr(beside, "_LAST_SILENT_SECONDS", 600.0)
    sweep = {
        "study": "spirals", "data": {"source": "spirals"}, "model": "narrow", "track": ["lines"],
        "objective": {"metric": "worst_class", "direction": "maximize"}, "training": {"epochs": 2},
        "search": {"strategy": "corners", "trials": 2}, "space": {"learning_rate": {"low": 0.001, "high": 0.1}},
    }  # fmt: skip
    study = run(sweep, engine="aloud", results=tmp_path / "results", quiet=True)
    assert "trial 1 is sent to epoch 2" in capsys.readouterr().out
    assert set(study.leaderboard().tier) == {"corners"}
    lines = (tmp_path / "results" / "spirals" / "trackers" / "LinesTracker" / "trial-0000.jsonl").read_text()
    assert len(lines.splitlines()) == 3
    asked = ["spirals", "--format", "outline", "--results", str(tmp_path / "results")]
    trials = study.leaderboard().trial
    assert CliRunner().invoke(report, asked).stdout.splitlines() == [f"- trial {n}: complete" for n in trials]
