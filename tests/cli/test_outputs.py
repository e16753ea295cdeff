"""What a command writes is there whole or not at all: after an error all is as it was."""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.store.test_convert import as_journal
from tuner.cli.main import run_command_line
from tuner.errors import StorageError, TunerError
from tuner.paths import StudyPaths
from tuner.report.files import new_output, write_output
from tuner.train.after import export

SWEEP = """
study: study
data: {source: sklearn/digits}
space: {learning_rate: {low: 0.01, high: 0.1}}
training: {epochs: 1, batch_size: 256}
search: {trials: 8, strategy: random, pruner: none}
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "sweep.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command_line(["run", "sweep.yaml", "--engine", "inline", "-q"]) == 0
    as_journal(StudyPaths(folder / "results" / "study"), folder / "studies.journal")
    return folder


@pytest.fixture
def here(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The exporters run in this process, to be quick and to be reached."""
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("tuner.execute.apart.run_apart", lambda work, place, *arguments: work(*arguments))
    return workplace


@contextmanager
def room(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond this, as on a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(
    "arguments",
    [
        ("init", "new/sweep.yaml"),
        ("refine", "study", "-o", "new/next.yaml"),
        ("report", "study", "--format", "csv", "-o", "new/deep/table.csv"),
        pytest.param(("report", "study", "--format", "html", "-o", "sweep.yaml"), marks=pytest.mark.slow),
        ("report", "study", "--write"),
        ("compare", "study:0", "study:1", "--plot", "new/plot.png"),
        ("doctor", "study", "--backup", "copy.db"),
        ("doctor", "study", "--repair", "mended.db"),
        ("doctor", "--convert", "studies.journal", "converted.db"),
        pytest.param(("best", "study", "--export", "new/deep/winner"), marks=pytest.mark.slow),
        pytest.param(("best", "study", "--export", "new/winner.onnx"), marks=pytest.mark.slow),
        ("best", "study", "--export", "new/winner.safetensors"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_disk_that_takes_no_more_leaves_nothing_and_is_said_in_a_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    if arguments[-1].endswith(".onnx"):
        pytest.importorskip("onnxscript")
    if arguments[-1].endswith(".safetensors"):
        pytest.importorskip("safetensors")
    before = everything(here)
    with room(100):
        code = run_command_line(list(arguments))
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 5, said
    assert "File too large" in said or "disk I/O error" in said or "disk full" in said
    assert re.search(rf"error: ({arguments[-1]}|the export) cannot be written: |leaderboard.csv: ", said)
    assert everything(here) == before


def untraceable(*_: object) -> None:
    raise ValueError("no program can be made of it")


def test_a_network_that_cannot_be_exported_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_traced", untraceable)
    before = everything(here)
    for target in ("new/winner", "winner", "winner.onnx"):
        if not target.endswith(".onnx") or pytest.importorskip("onnxscript"):
            assert run_command_line(["best", "study", "--export", target]) == 1
            assert "cannot be exported by" in capsys.readouterr().err
            assert everything(here) == before


@pytest.mark.slow
def test_an_export_that_is_not_what_was_ranked_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    preparation = export.preparation_of
    monkeypatch.setattr(export, "preparation_of", lambda *a: {**preparation(*a), "mean": [1.0], "normalise": True})
    before = everything(here)
    assert run_command_line(["best", "study", "--export", "winner", "--verify"]) == 1
    assert "the export does not answer as its network does" in capsys.readouterr().err
    assert everything(here) == before


def put(network: str, *, failing: bool = False) -> Callable[[Path], None]:
    def write(part: Path) -> None:
        part.mkdir()
        for name in (network, "predict.py"):
            (part / name).write_text("new")
        if failing:
            raise TunerError("it cannot be done")

    return write


def test_an_export_into_a_folder_that_is_there_replaces_its_own_files_alone(tmp_path: Path) -> None:
    folder = tmp_path / "winner"
    folder.mkdir()
    for name in ("mine.txt", "network.json", "predict.py"):
        (folder / name).write_text("old")
    before = everything(tmp_path)
    with pytest.raises(TunerError), new_output(folder, network=("network.json", "network.pt2")) as part:
        put("network.pt2", failing=True)(part)
    assert everything(tmp_path) == before
    with new_output(folder, network=("network.json", "network.pt2")) as part:
        put("network.pt2")(part)
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert found == {"mine.txt": "old", "network.pt2": "new", "predict.py": "new"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_move_that_is_broken_off_leaves_a_folder_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than with one that is of another export than what is beside it."""
    folder, replace = tmp_path / "winner", Path.replace
    folder.mkdir()
    (folder / "network.json").write_text("old")

    def until_the_network(file: Path, to: Path) -> Path:
        if file.name == "network.pt2":
            raise OSError(5, "Input/output error")
        return replace(file, to)

    monkeypatch.setattr(Path, "replace", until_the_network)
    with (
        pytest.raises(StorageError, match=f"{folder} cannot be written: Input/output error"),
        new_output(folder, network=("network.json", "network.pt2")) as part,
    ):
        put("network.pt2")(part)
    assert [path.name for path in folder.iterdir()] == ["predict.py"]


def test_a_folder_where_a_file_is_to_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written: Not a directory"):
        write_output(tmp_path / "file" / "deep" / "sweep.yaml", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot be written: Is a directory"):
        write_output(tmp_path / "folder", "x")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
