"""SIGKILL at any moment: nothing that was told is lost, nothing is trained twice, the result is the same."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.depth import but_deep
from tests.execute.processes import eventually
from tests.reliability.launch import Command, Zygote, launch, wait_for
from tests.reliability.rig import MARK, Place, Rig, network_drive
from tests.reliability.test_signals import SLOW, long_epochs
from tuner.faults import POINTS
from tuner.ranking import rank_trials
from tuner.report.certainty.tested import stored_tests
from tuner.report.curves import read_curve
from tuner.store.reader import read_study

pytestmark = pytest.mark.slow

KILLS_PER_STUDY = 5
SOAK = int(os.environ.get("TUNER_SOAK", "0"))
"""With `make soak`: so many random kills."""
EVERY = 8
"""Of the studies of a soak, one in so many starts as users start it, with worker processes."""

SHARED = ("taken for a network drive", "over ssh")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Rig:
    """The same study without any harm."""
    rig = Rig(tmp_path_factory.mktemp("undisturbed"), launcher=zygote)
    rig.sweep()
    rig.resume()
    rig.audit(complete=True)
    return rig


@pytest.fixture
def place(request: pytest.FixtureRequest, quick_rig: Rig) -> Iterator[Rig]:
    """A study on a disk, on what is taken for a network drive, or on a real one."""
    if request.param == "taken for a network drive":
        quick_rig.take_for_network_drive()
    with (
        network_drive(quick_rig.folder / "results", remote=quick_rig.folder / "remote")
        if (request.param == "over ssh")
        else nullcontext()
    ):
        yield quick_rig


on_each_drive = pytest.mark.parametrize("place", but_deep(["disk", *SHARED], *SHARED), indirect=True)


@on_each_drive
def test_killed_at_every_fault_point_a_study_ends_as_if_nothing_had_been(place: Rig, undisturbed: Rig) -> None:
    rig = place
    rig.sweep()
    for index, point in enumerate(p for p in POINTS if p not in BETWEEN_CHECKPOINTS | OF_A_POPULATION):
        run = rig.start(fault=f"{point}:{1 + index % 3 if point in REPEATED else 1}")
        assert run.wait() == -9, f"{point} was not passed: {run.err[-1000:]}"
        rig.audit()
    rig.resume()
    rig.audit(like=undisturbed)


REPEATED = {"before_commit", "after_commit", "checkpoint_written", "checkpoint_replaced", "weights_written"}
"""Points that a run of what is left passes often enough."""
OF_A_POPULATION = {"after_take_over", "after_copy"}
"""Points that only trials of a population pass."""
BETWEEN_CHECKPOINTS = {"checkpoint_between"}
"""Points that only trials pass that are long enough for a second checkpoint."""


@pytest.mark.deep
def test_killed_at_every_moment_of_a_checkpoint_long_trials_go_on_from_the_one_before(
    quick_rigs: Callable[[str], Rig],
) -> None:
    rig, calm = quick_rigs("study"), quick_rigs("undisturbed")
    for one in (rig, calm):
        one.sweep(**{**SLOW, "search": {"trials": 3, "strategy": "random"}})
    went_on: list[Place] = []
    for point in ("checkpoint_written:2", "checkpoint_between:2", "checkpoint_replaced:2", "checkpoint_between:2"):
        run = rig.start(fault=point)
        assert run.wait() == -9, f"{point} was not passed: {run.err[-1000:]}"
        rig.audit()
        went_on += run.went_on.values()
    assert any((0, 0) < place < (SLOW["training"]["epochs"], 0) for place in went_on)
    for one in (calm, rig):
        one.hurry()
        one.resume()
    rig.audit(like=calm)


@pytest.mark.deep
def test_killed_at_every_moment_of_a_checkpoint_in_mid_epoch_a_trial_goes_on_at_its_step(
    quick_rigs: Callable[[str], Rig], tmp_path: Path
) -> None:
    rig, calm = quick_rigs("study"), quick_rigs("undisturbed")
    for one in (rig, calm):
        one.sweep(**long_epochs(tmp_path / "hurry"))
    went_on: list[Place] = []
    for point in ("checkpoint_written:2", "checkpoint_between:2", "checkpoint_replaced:2", "checkpoint_between:2"):
        run = rig.start(fault=point)
        assert run.wait() == -9, f"{point} was not passed: {run.err[-1000:]}"
        rig.audit()
        went_on += run.went_on.values()
    assert len({step for epoch, step in went_on if epoch == 0 < step}) >= 2
    (tmp_path / "hurry").touch()
    calm.resume()
    rig.resume()
    rig.audit(like=calm)


@on_each_drive
@pytest.mark.parametrize("seed", but_deep(range(4), 1, 2, 3))
def test_killed_at_random_moments_a_study_ends_as_if_nothing_had_been(place: Rig, undisturbed: Rig, seed: int) -> None:
    place.sweep()
    kill_at_random(place, random.Random(seed), kills=KILLS_PER_STUDY)
    place.resume()
    place.audit(like=undisturbed)


def test_on_a_network_drive_a_study_that_is_killed_ends_as_if_nothing_had_been(
    quick_rig: Rig, undisturbed: Rig
) -> None:
    rig = quick_rig
    rig.take_for_network_drive()
    rig.sweep()
    for point in ("after_claim:1", "before_commit:3", "after_commit:5", "after_tell:2"):
        assert rig.start(fault=point).wait() == -9
        rig.audit()
    rig.resume()
    rig.audit(like=undisturbed)


def kill_at_random(rig: Rig, rng: random.Random, *, kills: int, engine: str = "inline") -> None:
    """Kill run after run, each at a moment that is left to chance: while it opens the study, or after some trials."""
    for left in range(kills, 0, -1):
        run = rig.start(engine=engine)
        unfinished = rig.trials - len({number for earlier in rig.runs for number in earlier.announced})
        wanted = rng.randint(0, 2 * unfinished // left)
        while run.alive and len(run.announced) < min(wanted, unfinished):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05 if wanted else 1.0))
        if run.alive:
            rig.kill("coordinator")
        assert run.wait() in (0, -9)
        rig.audit()


@pytest.mark.skipif(not SOAK, reason="long; run with: make soak")
@pytest.mark.parametrize("seed", range(SOAK // 2 // KILLS_PER_STUDY))
def test_soak(tmp_path: Path, zygote: Zygote, undisturbed: Rig, seed: int) -> None:
    with_workers = seed % EVERY == EVERY - 1
    rig = Rig(tmp_path / "study", launcher=launch if with_workers else zygote)
    if seed % 3 == 1:
        rig.take_for_network_drive()
    rig.sweep()
    kill_at_random(rig, random.Random(1000 + seed), kills=KILLS_PER_STUDY, engine="local" if with_workers else "inline")
    rig.resume()
    rig.audit(like=undisturbed)
    shutil.rmtree(tmp_path)


WITH_FINALISTS = {"search": {"trials": 4, "strategy": "random"}, "finalists": {"count": 2, "seeds": 2}}
AFTERWARDS = (
    ("test", "study"), ("confirm", "study", "--top", "2", "--seeds", "3", "--workers", "1"),
    ("best", "study", "--export", "exported", "--force"),
)  # fmt: skip
"""What is done with a finished study."""


class Finished:
    """A study with finalists, with all that is done with it done, and how long each took."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.rig = Rig(folder, launcher=zygote)
        self.rig.sweep(**WITH_FINALISTS)
        self.seconds = {("run",): self._timed(lambda: self.rig.resume())}
        self.board = self.rig.leaderboard()
        self.rig.launcher = launch
        for arguments in AFTERWARDS:
            self.seconds[arguments] = self._timed(lambda what=arguments: succeed(self.rig, *what))

    def _timed(self, work: Callable[[], object]) -> float:
        began = time.monotonic()
        work()
        return time.monotonic() - began


def succeed(rig: Rig, *arguments: str) -> None:
    code, _, err = rig.command(*arguments)
    assert code == 0, err[-2000:]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Finished:
    return Finished(tmp_path_factory.mktemp("finished"), zygote)


@pytest.mark.skipif(not SOAK, reason="long; run with: make soak")
@pytest.mark.parametrize("seed", range(SOAK // 2 // KILLS_PER_STUDY))
def test_soak_of_finalists_and_of_what_comes_after_them(
    tmp_path: Path, zygote: Zygote, finished: Finished, seed: int
) -> None:
    rig, rng = Rig(tmp_path / "study", launcher=zygote), random.Random(2000 + seed)
    rig.sweep(**WITH_FINALISTS)
    for _ in range(2):
        run = rig.start()
        assert _kill_within(run.command, finished.seconds[("run",)], rng) in (0, -9)
        rig.audit()
    rig.resume()
    rig.audit(complete=True)
    assert rig.leaderboard() == finished.board
    rig.launcher = launch
    for arguments in rng.choices(AFTERWARDS, k=KILLS_PER_STUDY - 2):
        before = _figures(rig)
        files = {name: tmp_path / f"killed.{name}" for name in ("stdout", "stderr")}
        command = rig.launcher(arguments, cwd=rig.folder, env={MARK: str(rig.folder)}, **files)
        code = _kill_within(command, finished.seconds[arguments], rng)
        assert code in (0, -9), files["stderr"].read_text()[-2000:]
        assert eventually(lambda: not rig.processes())
        after = _figures(rig)
        assert after[0] == before[0]
        assert before[1].items() <= after[1].items() <= _figures(finished.rig)[1].items()
        assert after[2] in (before[2], _figures(finished.rig)[2])
    for arguments in AFTERWARDS:
        succeed(rig, *arguments)
    assert _figures(rig) == _figures(finished.rig)
    for name in ("preparation.json", "predict.py"):
        assert (rig.folder / "exported" / name).read_bytes() == (finished.rig.folder / "exported" / name).read_bytes()
    shutil.rmtree(tmp_path)


def _kill_within(command: Command, seconds: float, rng: random.Random) -> int:
    """Kill a command at any moment of so many seconds; its exit code."""
    until = time.monotonic() + rng.uniform(0, seconds)
    while command.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    if command.poll() is None:
        os.kill(command.pid, signal.SIGKILL)
    return wait_for(command)


def _figures(rig: Rig) -> tuple[list[float | None], dict[tuple[int, int | None], float | None], list[float]]:
    """The trials' values, those of finished finalists by (trial, seed), and those on the test set."""
    study = read_study(rig.paths, study="study")
    finalists = {
        (repeat.facts["repeat_of"], repeat.seed): repeat.value for repeat in study.finalists if repeat.state.final
    }
    return [r.value for r in study.records], finalists, [float(test["value"]) for test in stored_tests(study)]


def test_a_listener_hears_of_each_epoch_once_over_kills_pauses_and_finalists(quick_rig: Rig) -> None:
    rig = quick_rig
    rig.sweep(
        training={"epochs": 4, "batch_size": 128},
        search={"trials": 9, "strategy": "random", "pruner": "asha"},
        finalists={"count": 2, "seeds": 2},
    )
    in_the_search = ("after_create:1", "checkpoint_written:4", "checkpoint_written:7", "before_tell:1")
    for point in (*in_the_search, "after_create:1", "checkpoint_written:2"):
        run = rig.start(fault=point)
        assert run.wait() == -9, f"{point} was not passed: {run.err[-1000:]}"
        rig.audit()
    rig.resume()
    rig.audit(complete=True)
    study = read_study(rig.paths, study="study")
    trained = {("trials", r.number): r.epochs for r in study.records}
    trained |= {("finalists", r.number): r.epochs for r in study.finalists}
    assert rig.heard() == {key: list(range(1, epochs + 1)) for key, epochs in trained.items()}
    names = re.findall(r"^(finalist \d+, seed \d of \d) complete", "".join(r.err for r in rig.runs), re.MULTILINE)
    best = [r.number for r in rank_trials(study.records, direction=study.direction)[:2]]
    assert sorted(names) == sorted(f"finalist {n}, seed {seed} of 2" for n in best for seed in (1, 2))


def test_a_population_that_is_killed_anywhere_has_the_curves_of_an_unbroken_one(quick_rig: Rig, zygote: Zygote) -> None:
    parts = {
        "training": {"epochs": 6, "batch_size": 128},
        "search": {"trials": 6, "strategy": "population", "population": {"interval": 2}},
    }
    unbroken = Rig(quick_rig.folder / "unbroken", launcher=zygote)
    for rig in (quick_rig, unbroken):
        rig.sweep(**parts)
    unbroken.resume()
    for point in ("after_take_over", "after_copy", "checkpoint_replaced:3", "before_tell:2", "before_commit:3"):
        run = quick_rig.start(fault=point)
        assert run.wait() == -9, f"{point} was not passed: {run.err[-1000:]}"
    quick_rig.resume()
    broken, whole = (read_study(rig.paths, study="study").records for rig in (quick_rig, unbroken))
    assert any(record.phases for record in whole)
    assert [(r.params, r.seed, r.phases, r.value) for r in broken] == [
        (r.params, r.seed, r.phases, r.value) for r in whole
    ]
    assert _losses(quick_rig) == _losses(unbroken)


def _losses(rig: Rig) -> dict[int, list[float]]:
    """The dev losses of all epochs of each trial."""
    numbers = [record.number for record in read_study(rig.paths, study="study").records]
    return {n: [result.dev_loss for result in read_curve(rig.paths.trial(n).curve)] for n in numbers}
