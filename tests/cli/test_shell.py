"""What makes a shell pleasant: a list of studies, notes, completion, and where a study comes from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from tests.cli.test_study_commands import call
from tests.store.studies import make_study
from tuner.cli.ls import ls
from tuner.cli.main import cli
from tuner.cli.note import note
from tuner.cli.report import report
from tuner.cli.show import show
from tuner.cli.status import status
from tuner.errors import UsageError
from tuner.paths import StudyPaths
from tuner.report.analysis import Analysis
from tuner.report.write import html_report
from tuner.store.reader import read_study
from tuner.sweep.origin import origin, packages


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def study(results: Path) -> StudyPaths:
    paths = StudyPaths(results / "digits")
    make_study(paths)
    return paths


def completed(line: str, *, incomplete: str = "") -> list[str]:
    """What a shell would offer behind a line."""
    complete = ShellComplete(cli, {}, "tuner", "_TUNER_COMPLETE")
    return [item.value for item in complete.get_completions(line.split()[1:], incomplete)]


def test_all_studies_are_listed_the_last_changed_first(study: StudyPaths, results: Path) -> None:
    make_study(StudyPaths(results / "letters"), num_trials=2, study="letters")
    for name, age in (("digits", 0), ("letters", 7200)):
        for file in (results / name).rglob("*"):
            os.utime(file, (file.stat().st_atime, Path(__file__).stat().st_mtime - age))
    (results / "broken").mkdir()
    (results / "broken" / "study.db").write_text("no database")
    (results / "elsewhere").mkdir()
    (results / "elsewhere" / "run.log").touch()
    (results / ".data").mkdir()
    found = {one["study"]: one for one in json.loads(call(ls, "--results", results, "--json").stdout)}
    assert found.keys() == {"digits", "letters", "broken", "elsewhere"}
    assert (found["digits"]["trials"], found["digits"]["best"]["value"], found["digits"]["metric"]) == (
        3,
        0.6,
        "accuracy",
    )
    assert (found["broken"]["state"], found["elsewhere"]["state"]) == ("unreadable", "elsewhere")
    head, *rows = call(ls, "--results", results).stdout.splitlines()
    assert head.split("\t") == ["study", "state", "trials", "best", "changed", "note"]
    names = [row.split("\t")[0] for row in rows]
    assert names.index("digits") < names.index("letters")


def test_a_folder_without_studies_says_so(tmp_path: Path) -> None:
    done = call(ls, "--results", tmp_path)
    assert (done.stdout, "no studies" in done.stderr) == ("", True)


def test_notes_are_shown_wherever_a_study_and_a_trial_are(study: StudyPaths, results: Path) -> None:
    def told(*words: str) -> None:
        assert call(note, "digits", *words, "--results", results).stdout == ""

    told("1", "loss jumps", "--tag", "odd")
    told("1", "again")
    told("before the new data")
    in_words = "#odd loss jumps; again"
    assert call(note, "digits", "--results", results).stdout.splitlines() == [
        f"trial 1\t{in_words}", "study\tbefore the new data",
    ]  # fmt: skip
    table = call(report, "digits", "--columns", "trial,note", "--results", results).stdout.splitlines()
    assert sorted(table[1:]) == ["0\t", f"1\t{in_words}", "2\t"]
    assert in_words in call(show, "digits", 1, "--results", results).stdout
    assert "before the new data" in call(status, "digits", "--results", results).stdout
    assert "before the new data" in call(ls, "--results", results).stdout
    page = html_report(Analysis(read_study(study, study="digits"), study))
    assert in_words in page
    assert "before the new data" in page
    told("1", "--remove")
    assert "note" not in call(report, "digits", "--results", results).stdout.splitlines()[0].split("\t")


@pytest.mark.parametrize(
    ("words", "rule"), [(("9", "x"), "has no trial 9"), (("x", "--remove"), "--remove takes away")]
)
def test_a_note_that_cannot_be_meant_is_refused(
    study: StudyPaths, results: Path, words: tuple[str, ...], rule: str
) -> None:
    with pytest.raises(UsageError, match=rule):
        call(note, "digits", *words, "--results", results)
    assert not study.notes.exists()


def test_lines_that_are_no_notes_are_passed_over(study: StudyPaths) -> None:
    study.notes.write_text('{"trial": 1, "te\n[]\n{"trial": "x", "text": "a", "tags": [], "at": ""}\n')
    assert read_study(study, study="digits").notes == ()


def test_studies_sweep_files_and_trials_are_completed(
    study: StudyPaths, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parent)
    Path("digits.yaml").touch()
    for number in (0, 1, 12):
        study.trial(number).folder.mkdir(parents=True)
    study.finalist(3).folder.mkdir(parents=True)
    assert completed("tuner status", incomplete="dig") == ["digits", "digits.yaml"]
    assert completed("tuner show digits", incomplete="1") == ["1", "12"]
    assert completed("tuner show --finalist digits") == ["3"]
    assert completed("tuner logs --results elsewhere digits") == []
    assert "note" in completed("tuner", incomplete="no")


@pytest.mark.slow
def test_a_completion_opens_nothing_and_imports_no_library(study: StudyPaths, results: Path) -> None:
    study.trial(4).folder.mkdir(parents=True)
    script = (
        "import sys\nfrom tuner.cli.main import main\n"
        "try: main([])\nfinally: print(*sorted({n.split('.')[0] for n in sys.modules} - set(sys.stdlib_module_names)))"
    )
    told = {"_TUNER_COMPLETE": "bash_complete", "COMP_WORDS": "tuner show digits ", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=results.parent, env={**os.environ, **told},
        check=True, timeout=600,
    )  # fmt: skip
    answer, modules = done.stdout.splitlines()
    assert answer == "plain,4"
    assert not {"torch", "pandas", "numpy", "sqlalchemy", "pydantic", "optuna"} & set(modules.split())


FISH = "_TUNER_COMPLETE=fish_source tuner | source; complete -C 'tuner show digits 1'; complete -C 'tuner status dig'"
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'autoload -Uz compinit; compinit -u -D; eval "$(_TUNER_COMPLETE=zsh_source tuner)"
report() { print -r -- $BUFFER >> said }; zle -N report; bindkey "^X" expand-or-complete; bindkey "^Y" report
zle-line-init() { print rea""dy }; zle -N zle-line-init'
while zpty -r shell line; do [[ $line == *ready* ]] && break; done
zpty -w -n shell $'tuner show digits 1\\x18\\x19\\x15tuner status digits.y\\x18\\x19'
while [[ ! -s said || $(wc -l < said) -lt 2 ]]; do zpty -r -t shell line; sleep .05; done
cat said
"""
"""In zsh's own line editor: a key completes, another says what stands in the line then. The editor says when it
listens: what is typed before goes to the terminal, for which one of the keys deletes the line."""


@pytest.mark.deep
@pytest.mark.parametrize(
    ("shell", "arguments", "said"),
    [
        ("fish", ["-N", "-c", FISH], ["12", "digits", "digits.yaml"]),
        ("zsh", ["-f", "-c", ZSH], ["tuner show digits 12 ", "tuner status digits.yaml "]),
    ],
)
def test_other_shells_complete_studies_and_trials(
    study: StudyPaths, results: Path, shell: str, arguments: list[str], said: list[str]
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (results.parent / "digits.yaml").touch()
    for number in (4, 12):
        study.trial(number).folder.mkdir(parents=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [program, *arguments], cwd=results.parent, capture_output=True, text=True, check=True, timeout=600,
        env={**os.environ, "PATH": path, "HOME": str(results.parent)},
    )  # fmt: skip
    assert done.stdout.splitlines() == said


def test_where_a_study_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=trunk"]
        done = subprocess.run(["git", *settings, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert "git commit" not in origin(tmp_path)
    git("init", "-q")
    (tmp_path / "train.py").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    (tmp_path / "untracked.txt").touch()
    found = origin(tmp_path)
    assert found["git commit"] == f"{git('rev-parse', 'HEAD')} on trunk"
    assert "not committed" not in found
    (tmp_path / "train.py").write_text("2")
    assert origin(tmp_path)["not committed"] == "train.py"
    assert {"machine", "processor", "memory"} <= found.keys()
    monkeypatch.setenv("PATH", "")
    assert "git commit" not in origin(tmp_path)


def test_the_packages_are_those_that_are_installed() -> None:
    from importlib.metadata import version

    found = packages()
    assert {name: found[name] for name in ("torch", "click", "scikit-learn")} == {
        name: version(name) for name in ("torch", "click", "scikit-learn")
    }


def test_the_page_says_where_a_study_comes_from(study: StudyPaths) -> None:
    from dataclasses import replace

    facts: dict[str, Any] = {"origin": {"git commit": "abc on trunk"}, "packages": {"torch": "2.13.0"}}
    data = read_study(study, study="digits")
    page = html_report(Analysis(replace(data, facts={**data.facts, **facts}), study))
    assert "abc on trunk" in page
    assert "torch 2.13.0" in page
