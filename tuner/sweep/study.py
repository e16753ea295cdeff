"""What a run does to a study besides training: check that it is the right one, describe it, tidy it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuner.diagnose.noise import standard_error
from tuner.errors import StudyMismatchError
from tuner.execute.facts import TaskFacts
from tuner.paths import StudyPaths, beside, left_beside, own_place
from tuner.ranking import best_trial, finite_value
from tuner.records import Direction, FailureReason, Json, TrialRecord, TrialState
from tuner.report.words.numbers import metric_text
from tuner.spec.kept.code_versions import VERSION_PREFIX, changed_files, version_of
from tuner.spec.known.metrics import known_direction
from tuner.spec.model import SweepSpec
from tuner.spec.space import Space
from tuner.store.store import StudyStore
from tuner.sweep.earlier import breaking_changes
from tuner.sweep.origin import origin, packages, versions
from tuner.trials import trials_of


def check_matches(store: StudyStore, spec: SweepSpec, facts: TaskFacts) -> None:
    """Make sure that the study in the store is the sweep file's, and was trained on these data.

    Raises:
        StudyMismatchError: it differs in what makes trials comparable; the message says where.
    """
    snapshot = store.get("sweep")
    if snapshot is None:
        return
    changes = breaking_changes(snapshot, spec, store.get("data"), facts.data)
    if store.get("weights") not in (None, facts.weights):
        changes.append(f"model.init_from: {spec.model.init_from} is not the file that the trials started from")
    if changes:
        listed = "\n".join(f"  {line}" for line in changes)
        raise StudyMismatchError(
            f'the sweep file, or what it names, no longer matches study "{spec.study}":\n{listed}\n'
            "put back what has changed, give the study another name, or use --fresh to start it anew (the old one is "
            "set aside)"
        )


def describe(store: StudyStore, spec: SweepSpec, space: Space, facts: TaskFacts, *, command: str = "") -> None:
    """Remember in the study what it is of, for reports and for the next run.

    Args:
        store: The study's.
        spec: The sweep file.
        space: What is searched.
        facts: Of the data, of the user's model and of the weights that it starts from.
        command: What goes on with the study in a shell.
    """
    from tuner.spec.kept.space_values import space_to_json

    store.set("sweep", spec.model_dump(mode="json"))
    store.set("root", spec.root)
    store.set("space", space_to_json(space))
    store.set("data", dict(facts.data))
    store.set("versions", versions())
    store.set("packages", packages())
    store.set("origin", origin(Path(spec.root)))
    store.set("code_files", dict(facts.code))
    store.set("weights", facts.weights)
    if command:
        store.set("command", command)


def came_so_far(store: StudyStore, facts: TaskFacts, *, trials: int) -> list[str]:
    """What a run that goes on with a study says first; nothing in a new one.

    Args:
        store: The study's.
        facts: Of the task.
        trials: How many there are to be.
    """
    records = store.records()
    if not records:
        return []
    ended = sum(record.state.final for record in records)
    best = best_trial(records, direction=facts.direction)
    value = "" if best is None else f"{facts.metric} {metric_text(best.value, metric=facts.metric)}"
    reached = "none has finished" if best is None else f"best so far: trial {best.number} with dev {value}"
    return [f"going on: {ended} of {trials} trials have ended; {reached}"]


def differences(store: StudyStore, spec: SweepSpec, facts: TaskFacts) -> list[str]:
    """What results depend on, and is not as it was when the study was run last: no reason to refuse to go on."""
    before, now = store.get("versions") or {}, versions()
    names = [name for name in before if name in now and name != "platform"]  # that has the kernel's version in it
    found = [f"{name} was {before[name]}, is {now[name]}" for name in names if before[name] != now[name]]
    if changed := changed_files(store.get("code_files"), facts.code):
        found.append(f"your code has changed ({', '.join(changed)})")
    return found


class CodeVersions:
    """The versions of the user's code, each with its files and their hashes once: trials have only their names."""

    def __init__(self, store: StudyStore) -> None:
        self._store = store
        self._known: set[str] = set()

    def keep(self, files: Mapping[str, str]) -> None:
        """Remember the files that a trial is trained by."""
        version = version_of(files)
        if version and version not in self._known:
            self._known.add(version)
            self._store.set(f"{VERSION_PREFIX}{version}", dict(files))


def set_aside(paths: StudyPaths) -> None:
    """Move an earlier study's files, and results that wait for it, out of the way, under names with the time."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for path in (
        paths.trials,
        paths.finalists,
        paths.told,
        paths.finalists_told,
        paths.on_parts,
        paths.on_parts_told,
        paths.baselines,
        paths.test,
        paths.notes,
        paths.trackers,
        paths.pending,
        paths.conclusion,
    ):
        if path.exists() and (path != paths.pending or any(path.glob("*.json"))):  # else it is our room on the disk
            path.rename(path.with_name(f"{path.name}.{stamp}"))


def sweep_up(paths: StudyPaths) -> None:
    """Remove the files that an earlier run was killed over: halves of reports, and what other machines looked for."""
    ours = {path.name for path in paths.places}
    half_written = [
        *left_beside(own_place(paths.folder), named=ours.__contains__),
        *left_beside(own_place(paths.best), named=ours.__contains__),
        *left_beside(own_place(paths.plots), named=lambda name: name.endswith(".png")),
    ]
    for path in half_written:
        if path != beside(paths.token):
            path.unlink(missing_ok=True)


def failed_trials(store: StudyStore) -> list[TrialRecord]:
    """Trials that failed for a reason that may have been mended: not those whose own configuration is the reason."""
    own = (FailureReason.DIVERGED, FailureReason.INFEASIBLE)
    return [r for r in store.records() if r.state is TrialState.FAILED and not r.reason.startswith(own)]


def dev_noise(metric: str, data: Mapping[str, Json], records: Sequence[TrialRecord]) -> float:
    """Standard error of the dev metric near the best trial, from the size of the dev set; 0 where it is unknown."""
    by_value = trials_of(records).ordered(_lowest_value_first)
    if not by_value or "num_dev" not in data:
        return 0.0
    best = by_value[0 if known_direction(metric) is Direction.MINIMIZE else -1].value
    assert best is not None
    return standard_error(metric, best, num_examples=int(data["num_dev"]))


def _lowest_value_first(record: TrialRecord) -> tuple[float] | None:
    value = finite_value(record)
    return None if value is None else (value,)
