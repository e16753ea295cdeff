"""What the test set said of a study, and whether that is of what the study answers with now."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.records import Json
from tuner.report.words.numbers import trials_text
from tuner.report.words.shell import shell_command
from tuner.store.study_data import StudyData


def stored_tests(study: StudyData) -> list[Mapping[str, Json]]:
    """The evaluations on the test set that the study remembers, in order."""
    tests = study.facts.get("tests")
    return [test for test in tests if isinstance(test, Mapping)] if isinstance(tests, list) else []


def average_of_test(test: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """What the mean of several trials had in an evaluation; None where none was asked."""
    found = test.get("average")
    trials = found.get("trials") if isinstance(found, Mapping) else None
    return found if isinstance(trials, list) and len(trials) > 1 else None


def answer_of_test(test: Mapping[str, Json]) -> tuple[int, ...]:
    """The trials whose figure an evaluation is: one, or several whose predictions were averaged, the winner first."""
    average = average_of_test(test)
    trials: list[int] = [test.get("trial", -1)] if average is None or not test.get("by_average") else average["trials"]
    return tuple(trials)


def figure_of_test(test: Mapping[str, Json]) -> Mapping[str, Json]:
    """The `value` and `interval` of what the study answered with when the test set was opened."""
    average = average_of_test(test)
    return average if average is not None and test.get("by_average") else test


def current_test(study: StudyData, answer: tuple[int, ...]) -> Mapping[str, Json] | None:
    """The first evaluation of what the study answers with now; where that was not tested the last of another one."""
    tests = stored_tests(study)
    of_answer = (test for test in tests if set(answer_of_test(test)) == set(answer))
    return next(of_answer, tests[-1] if tests else None)


def outdated_test(study: StudyData, answer: tuple[int, ...], *, command: str | None = None) -> str:
    """What to say where the test figure is of another trial than the best of now; empty where it is not.

    Args:
        study: The study.
        answer: The trials that it answers with now; empty if none has finished.
        command: What tests these in a shell; by the study's name if None.
    """
    test = current_test(study, answer)
    if test is None or not answer or set(answer_of_test(test)) == set(answer):
        return ""
    then = answer_of_test(test)
    of_then = f"trial {then[0]}'s" if len(then) == 1 else f"that of {trials_text(then)}"
    is_now = "the best is now" if len(answer) == 1 else "the answer is now"
    return (
        f"the test figure is {of_then}; {is_now} {trials_text(answer)}, which was not tested; to test it, at the price "
        f"of one more use of the test set: {command or shell_command('test', study.name, '--again')}"
    )
