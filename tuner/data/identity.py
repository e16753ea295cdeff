"""Whether examples are those that a study was trained on: every comparison of data with a study is made here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tuner.errors import StudyMismatchError
from tuner.records import Json

_COUNTS = {"num_train": "train", "num_dev": "dev", "num_test": "test"}
_NAMES = {"feature_names": "inputs", "class_names": "classes", "target_names": "targets"}
_SHOWN = 5
"""Names that are told one by one."""


def what_differs(before: Mapping[str, Json] | None, now: Mapping[str, Json]) -> list[str]:
    """How data differ from those that a study was trained on, a line for each part; nothing if they are the same.

    The hashes decide, as far as the study has them; counts and names only explain.

    Args:
        before: The fields of `DataInfo` that the study keeps; None or nothing if it keeps none.
        now: Those of the data as they are read now.
    """
    before = before or {}
    lines = []
    if _has_changed("sha256", before, now):
        details = [*_counts(before, now, "num_train", "num_dev"), *_names(before, now)]
        details = details or ["as many as then; values have changed, if only in their digits, or columns"]
        hashes = f"SHA-256 was {str(before['sha256'])[:12]}, is {str(now['sha256'])[:12]}"
        lines.append(
            f"data: the train and dev examples are not those that the study was trained on ({'; '.join(details)}; "
            f"{hashes})"
        )
    # Where there are none, and in a study of an earlier version, there is only their number.
    if _has_changed("test_sha256" if before.get("test_sha256") else "num_test", before, now):
        details = [*_counts(before, now, "num_test")] or ["as many as then"]
        lines.append(f"data: the test examples are not those that were set aside ({'; '.join(details)})")
    return lines


def require_same_data(before: Mapping[str, Json] | None, now: Mapping[str, Json], *, source: str) -> None:
    """Refuse data that are not those of a study; see `what_differs`.

    Raises:
        StudyMismatchError: they differ.
    """
    if differences := what_differs(before, now):
        listed = "\n".join(f"  {line}" for line in differences)
        raise StudyMismatchError(
            f"{source} does not give what the study was trained on, so a figure from it would mean nothing:\n{listed}\n"
            "put the data back as they were (a function must return the same examples each time); to use them as they "
            "are now, train on them: under another study's name, or with tuner run SWEEP --fresh (the old study is set "
            "aside)"
        )


def _has_changed(key: str, before: Mapping[str, Json], now: Mapping[str, Json]) -> bool:
    return before.get(key) not in (None, "") and before[key] != now.get(key)


def _counts(before: Mapping[str, Json], now: Mapping[str, Json], *keys: str) -> Iterator[str]:
    for key in keys:
        if _has_changed(key, before, now):
            yield f"{before[key]} {_COUNTS[key]} examples then, {now.get(key)} now"


def _names(before: Mapping[str, Json], now: Mapping[str, Json]) -> Iterator[str]:
    for key, what in _NAMES.items():
        if key not in before or key not in now:
            continue
        old, new = set(map(str, before[key])), set(map(str, now[key]))
        for words, names in (("are gone", old - new), ("are new", new - old)):
            if names:
                listed = ", ".join(sorted(names)[:_SHOWN]) + (" and more" if len(names) > _SHOWN else "")
                yield f"{what} {listed} {words}"
