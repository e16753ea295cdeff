"""A run that is refused leaves nothing behind: no folder, no study."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.cli.main import run_command_line

TABLE = "a,b,y\n" + "".join(f"{n % 7},{n % 5},{n % 2}\n" for n in range(60))


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ("search.warm_start=nope", 4, 'no study "nope"'),
        ("model=cnn", 3, "model cnn needs images of shape (channels, height, width), got examples of shape (2,)"),
        ("model=recurrent", 3, "model recurrent needs sequences of shape (length, channels)"),
        ("data.ignore=[y]", 3, 'data.ignore: names "y", the last column of t.csv'),
        ("search.seed=-1", 3, "search.seed: must be at least 0"),
        ("model=os.path:join", 6, "os.path:join cannot be built"),
    ],
)
def test_a_refused_run_leaves_nothing(
    setting: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLE)
    Path("s.yaml").write_text("study: s\ndata: {source: t.csv}\nspace: {learning_rate: {}}\ntraining: {epochs: 1}\n")
    assert run_command_line(["run", "s.yaml", "-q", "--engine", "inline", "--set", setting]) == code
    assert message in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.yaml", "t.csv"]
