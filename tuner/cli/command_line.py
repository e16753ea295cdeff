"""The commands that are said to a user: complete, quoted for a shell, with no password in them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.cli.locate import Location

if TYPE_CHECKING:
    from tuner.store.study_data import StudyData

_ONCE = ("--fresh", "--retry-failed")
"""What was done when the run began, and would be done over again."""


def command_to_go_on(arguments: Sequence[str]) -> str:
    """The command that goes on with the run that these arguments of `tuner` began; `***` stands for a password."""
    from tuner.report.words.shell import shell_command

    return shell_command(*(argument for argument in arguments if argument not in _ONCE))


def stored_command(command: object) -> str | None:
    """The command that goes on with a study, as the study's database has it; None if it holds none.

    Whoever made the database wrote it: each of its words is quoted anew, so that a shell runs `tuner` and nothing else.
    """
    try:
        words = shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        return None
    return shlex.join(words) if words[:2] == ["tuner", "run"] else None


def study_command(verb: str, location: Location, *arguments: str) -> str:
    """A command on a study: `tuner VERB STUDY ARGUMENTS`, with where the study lies."""
    from tuner.report.words.shell import shell_command

    results = {} if location.is_folder else {"results": location.results}
    return shell_command(verb, location.argument, *arguments, **results, store=location.store_url)


def outdated_test_of(study: StudyData, location: Location) -> str:
    """What to say where another trial was tested than the best of now, with the command that tests it."""
    from tuner.report.certainty.tested import outdated_test

    return outdated_test(study, _answering(study, location), command=study_command("test", location, "--again"))


def test_of(study: StudyData, location: Location) -> dict[str, Any] | None:
    """What the test set said of the study's answer, or else of another one, which is then said; None before a test."""
    from tuner.report.certainty.tested import answer_of_test, current_test, figure_of_test, stored_tests

    if not stored_tests(study):
        return None
    test = current_test(study, _answering(study, location))
    assert test is not None
    return {
        "trial": test.get("trial"),
        "trials": list(answer_of_test(test)),
        "value": figure_of_test(test).get("value"),
        "at": test.get("at"),
        "outdated": outdated_test_of(study, location),
    }


def _answering(study: StudyData, location: Location) -> tuple[int, ...]:
    """The trials that the study answers with, where anything was tested that could be of others."""
    from tuner.report.certainty.tested import stored_tests

    if not stored_tests(study):
        return ()
    from tuner.report.certainty.answer import final_answer  # which loads NumPy

    answer = final_answer(study, location.paths)
    return () if answer is None else answer.numbers


def run_command(sweep: Path, location: Location) -> str:
    """What runs a sweep file that belongs to a study, beside it."""
    from tuner.report.words.shell import shell_command

    shown = sweep.relative_to(Path.cwd()) if sweep.is_relative_to(Path.cwd()) else sweep
    return shell_command("run", shown, results=location.results, store=location.store_url)


def say_how_to_go_on(command: str, *, why: str) -> str:
    """The last line of a run that was ended early."""
    password = "   (with the password in the place of ***)" if "***" in command else ""
    return f"{why}; everything is kept. To go on: {command}{password}"
