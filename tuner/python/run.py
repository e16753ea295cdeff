"""`tuner.run`: a sweep from Python; and what it shares with the command of that name."""

from __future__ import annotations

import json
import signal
import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import (
    DataError,
    StorageError,
    StudyMismatchError,
    StudyNotFoundError,
    SweepFileError,
    UsageError,
    UserCodeError,
)
from tuner.paths import StudyPaths
from tuner.sweep.options import RunOptions
from tuner.sweep.outcome import Outcome, finished_before
from tuner.sweep.run import run_sweep

if TYPE_CHECKING:
    from tuner.python.given import Given
    from tuner.python.study import Study
    from tuner.records import TrialRecord
    from tuner.spec.model import SweepSpec

_FRESH_AND_RETRY = "starts anew, so there are no failed trials to retry; leave one of the two out"


def run(
    sweep: str | PathLike[str] | Mapping[str, object],
    *,
    data: object = None,
    model: str | Callable[..., object] | None = None,
    trials: int | None = None,
    seed: int | None = None,
    track: Sequence[str] | None = None,
    seconds: float | None = None,
    workers: int | None = None,
    devices: Sequence[str] = (),
    engine: str = "local",
    store: str | None = None,
    results: str | PathLike[str] = "results",
    fresh: bool = False,
    retry_failed: bool = False,
    quiet: bool = False,
) -> Study:
    """Run a sweep, or continue it where it stopped; the same call goes on until the study has all its trials.

    Args:
        sweep: A sweep file's path, or what would stand in one: `{"study": "digits", "data": {...}, ...}`. Values may be
            functions and classes where a sweep file names them; relative paths start at the current folder.
        data: The examples, in the place of `data.source`: a DataFrame, (inputs, targets), a dict of arrays, a path, or
            a function that returns examples.
        model: A function `(params, data) -> nn.Module`, a LightningModule's class, or a built-in model's name.
        trials: How many there are to be in all, instead of `search.trials`.
        seed: Of the search, instead of `search.seed`.
        track: Trackers, instead of those of the sweep: `tensorboard`, `mlflow`, `wandb`, or `package.module:Class`.
        seconds: End after so long, to be continued later.
        workers: Worker processes; one for each core or accelerator by default.
        devices: Where to train: `cpu`, `cuda`, `cuda:1`, `mps`; the best there is by default.
        engine: `local`, worker processes on this machine, or `inline`, this process.
        store: An Optuna storage URL instead of `results/<study>/study.db`.
        results: Folder of all studies.
        fresh: Set an existing study of this name aside and start anew.
        retry_failed: Try failed trials again.
        quiet: Show no progress.

    Raises:
        KeyboardInterrupt: it was interrupted; everything is kept, and the same call goes on.
        TunerError: see `tuner.errors`; what was trained until then is kept.
    """
    from tuner.python.study import Study

    if fresh and retry_failed:
        raise UsageError(f"fresh=True {_FRESH_AND_RETRY}")
    results = Path(results)
    overrides = overrides_of(trials=trials, seed=seed, track=track)
    given, spec, found = _read(sweep, data=data, model=model, results=results, overrides=overrides)
    for line in found:
        warnings.warn(line, stacklevel=2)
    is_file = data is None and model is None and not isinstance(sweep, Mapping)
    command = (
        _command(
            sweep, results, store, trials=trials, seed=seed, track=None if track is None else ",".join(track) or "none"
        )
        if is_file
        else ""
    )
    options = RunOptions(
        results=results, store_url=store, engine=engine, devices=tuple(devices), workers=workers, seconds=seconds,
        fresh=fresh, retry_failed=retry_failed, command=command,
    )  # fmt: skip
    if given.overwrites:
        _require_idle(spec, options)
    given.write()
    try:
        outcome = start(spec, options, quiet=quiet)
        outcome.finish()
    except (StudyMismatchError, DataError, UserCodeError):
        given.take_back()  # it could not go on with it
        raise
    except SystemExit as end:  # a signal that came while there was nothing to save
        if end.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from None
        raise
    if outcome.signal == signal.SIGINT:
        raise KeyboardInterrupt(f"{spec.study} is interrupted, with everything kept; the same call goes on")
    if outcome.signal is not None:
        raise SystemExit(128 + outcome.signal)
    if outcome.complete and not outcome.any_complete:
        warnings.warn("no trial was trained to its end; study.leaderboard() has the reasons", stacklevel=2)
    return Study(outcome.paths, name=spec.study, store_url=store, spec=spec)


def start(spec: SweepSpec, options: RunOptions, *, quiet: bool = False, log_level: int | None = None) -> Outcome:
    """Run or continue a sweep with the display of its progress that fits.

    Raises:
        TunerError: see `tuner.errors`.
    """
    if options.fresh and options.retry_failed:
        raise UsageError(f"--fresh {_FRESH_AND_RETRY}")
    if (outcome := finished_before(spec, options)) is not None:
        return outcome
    from tuner.python.progress import open_progress
    from tuner.sweep.watcher import Watchers
    from tuner.track.beside import open_trackers

    paths = StudyPaths((options.results / spec.study).resolve())
    with (
        open_progress(spec, quiet=quiet, log_level=log_level) as progress,
        open_trackers(spec, paths, say=progress.said) as trackers,
    ):
        try:
            outcome = run_sweep(spec, options, Watchers([progress, trackers]))
        except BaseException:
            trackers.conclude(at_once=True)
            raise
        best = _final_choice(spec, options, paths) if spec.track and outcome.complete else None
        trackers.conclude(complete=outcome.complete, best=best, at_once=outcome.signal is not None)
        return outcome


def _final_choice(spec: SweepSpec, options: RunOptions, paths: StudyPaths) -> TrialRecord | None:
    """The trial that the study's reports call the best."""
    from tuner.report.certainty.choice import final_choice
    from tuner.store.reader import read_study

    choice = final_choice(read_study(paths, study=spec.study, url=options.store_url, with_rungs=False))
    return None if choice is None else choice.record


def overrides_of(*, trials: int | None, seed: int | None, track: Sequence[str] | None = None) -> list[str]:
    """What these arguments replace in a sweep file."""
    given = {"search.trials": trials, "search.seed": seed, "track": None if track is None else json.dumps(list(track))}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def _read(
    sweep: str | PathLike[str] | Mapping[str, object], *, data: object, model: object, results: Path,
    overrides: list[str],
) -> tuple[Given, SweepSpec, tuple[str, ...]]:  # fmt: skip
    """What was given, not written yet; the sweep, with that in the place of what it names; and its warnings."""
    from tuner.python.given import Given
    from tuner.spec.reader import parse_values, read_study_name, read_sweep

    if not isinstance(sweep, Mapping):
        path = Path(sweep)
        given = Given(_given_folder(read_study_name(path), results), root=path.resolve().parent)
        named = {"data.source": given.plain(data, ("data", "source")), "model": given.plain(model, ("model",))}
        overrides = overrides + [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
        file = read_sweep(path, overrides=overrides)
        return given, file.spec, file.warnings
    values: dict[str, Any] = dict(sweep)
    if data is not None:
        block = values.get("data")
        values["data"] = {**(block if isinstance(block, Mapping) else {}), "source": data}
    if model is not None:
        block = values.get("model")
        values["model"] = {**block, "kind": model} if isinstance(block, Mapping) else model
    given = Given(_given_folder(values.get("study"), results), root=Path.cwd())
    return given, *parse_values(given.plain(values), root=Path.cwd(), overrides=overrides)


def _given_folder(study: object, results: Path) -> Path:
    """Where what was given is kept; the name of the study is checked before a folder is called so."""
    from tuner.spec.reader import study_name_problem

    if problem := study_name_problem(study):
        raise SweepFileError([f"sweep: study: {problem}"])
    return StudyPaths((results / str(study)).resolve()).given


def _require_idle(spec: SweepSpec, options: RunOptions) -> None:
    """Leave what was given to a study alone while a process runs it.

    Raises:
        StorageError: one does.
    """
    from tuner.store.reader import read_study
    from tuner.store.standing import state_of

    try:
        study = read_study(
            StudyPaths((options.results / spec.study).resolve()), study=spec.study, url=options.store_url
        )
    except StudyNotFoundError:
        return
    if state_of(study)[0] == "running":
        raise StorageError(
            f"{spec.study} is run by {study.lease} with another model, or other code, than is given now; wait for it, "
            "or stop it, before running it here"
        )


def _command(sweep: object, results: Path, store: str | None, **given: int | str | None) -> str:
    """What goes on with the run in a shell."""
    from tuner.report.words.shell import shell_command

    words = [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
    return shell_command("run", str(sweep), *words, results=results, store=store)
