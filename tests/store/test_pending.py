"""Results that wait in files belong to the study that wrote them, not to whichever has its name."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.contracts.store_contract import SPACE, same, train
from tests.store.studies import reopen
from tuner.paths import StudyPaths
from tuner.records import Direction, TrialFinished, TrialRecord
from tuner.spec.space import Dimension, Space
from tuner.store import pending
from tuner.store.memory import MemoryStore
from tuner.store.opening import open_for_dashboard
from tuner.store.pending import PendingFolder
from tuner.store.reader import read_study
from tuner.sweep.study import set_aside


@pytest.mark.slow
@pytest.mark.parametrize("url", [None, "{folder}/studies.db"], ids=["its own", "another"])
def test_what_waits_for_a_study_goes_into_it_before_it_is_set_aside(paths: StudyPaths, url: str | None) -> None:
    paths.folder.mkdir(parents=True)
    url = url and url.format(folder=paths.folder.parent)
    wanted = {study: leave_pending(paths, study, url=url) for study in ("digits", "digits/finalists")}
    other_space = Space((Dimension(name="width", kind="int", tier=1, default=2, low=1, high=9),))
    with reopen(paths, url=url, fresh=True, space=other_space, metric="loss", direction=Direction.MINIMIZE) as store:
        assert store.records() == ()
        assert store.get("verdict") is None
    assert not paths.pending.exists()
    (old,) = (name for name in names_of_studies(paths, url) if re.fullmatch(r"digits until [^/]+", name))
    found = read_study(paths, study=old, url=url)
    assert same(found.records, wanted["digits"])
    assert same(found.finalists, wanted["digits/finalists"])
    assert found.facts["verdict"] == "variance"
    assert found.lease is None
    with reopen(paths, url=url, space=other_space, metric="loss", direction=Direction.MINIMIZE) as store:
        assert store.records() == ()


@pytest.mark.slow
def test_what_waits_for_a_study_that_is_gone_never_goes_into_a_new_one_of_its_name(paths: StudyPaths) -> None:
    leave_pending(paths, "digits", url=None)
    for file in paths.folder.glob("study.db*"):
        file.unlink()
    with reopen(paths) as store:
        assert store.records() == ()
        assert store.get("verdict") is None
        set_aside(paths)
    assert not paths.pending.exists()
    assert len(list(paths.folder.glob("pending.*/*.json"))) == 1


def test_room_is_kept_for_it_on_the_disk_while_a_study_is_run(paths: StudyPaths) -> None:
    with reopen(paths):
        (room,) = paths.pending.iterdir()
        assert room.stat().st_blocks * 512 >= 65536
        assert read_study(paths, study="digits").name == "digits"
    assert not paths.pending.exists()


def test_where_the_disk_is_full_it_takes_the_room_that_was_kept(
    paths: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = PendingFolder(paths.pending, "digits")
    folder.reserve()
    (room,) = paths.pending.iterdir()
    write = pending._write_durably

    def full(path: Path, text: str) -> None:
        if room.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, text)

    monkeypatch.setattr(pending, "_write_durably", full)
    assert "is kept in" in folder.keep({}, {"verdict": '"variance"'})
    assert folder.read()[2] == {"verdict": '"variance"'}
    folder.give_back()
    assert len(list(paths.pending.iterdir())) == 1


def leave_pending(paths: StudyPaths, study: str, *, url: str | None) -> Sequence[TrialRecord]:
    """Have a study's trial end, and its new fact, where only a file of pending results knows; its records."""
    with reopen(paths, study=study, url=url) as store:
        store.start([(SPACE.default(), 2, "")] * 2)
        train(store, 0, [0.5])
        store.flush()
        identity = identity_in(paths, study, url)
    with MemoryStore(study=study, records=store.records()) as memory:
        memory.record(TrialFinished(trial=0, reason="all epochs"))
        records = memory.records()
    PendingFolder(paths.pending, study, identity=identity).keep({0: records[0]}, {"verdict": '"variance"'})
    return records


def identity_in(paths: StudyPaths, study: str, url: str | None) -> str:
    storage = open_for_dashboard(paths, study=study, url=url)
    try:
        identity = storage.get_study_user_attrs(storage.get_study_id_from_name(study))["tuner"]["identity"]
    finally:
        storage.remove_session()
    assert re.fullmatch("[0-9a-f]{16}", identity)
    return str(identity)


def names_of_studies(paths: StudyPaths, url: str | None) -> list[str]:
    storage = open_for_dashboard(paths, study="digits", url=url)
    try:
        return [study.study_name for study in storage.get_all_studies()]
    finally:
        storage.remove_session()
