"""Good configurations of other finished studies, of any data and network, to begin with: `search.learn_from`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from tuner.errors import StorageError, StudyNotFoundError, UsageError
from tuner.paths import StudyPaths
from tuner.ranking import rank_trials
from tuner.records import Params
from tuner.spec.defaults import build_space, loop_values, searched_optimizers, settings_for
from tuner.spec.model import SweepSpec
from tuner.spec.space import Space

_OF_A_STUDY = 2
"""Its best trials that are looked at: late in a search many are alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PastStarts:
    """What other studies found good."""

    starts: tuple[Params, ...]
    """Configurations as they were trained there, whatever the ranges of this space; of the studies most like this one
    first, and the best of each before the second of any."""
    line: str
    """What to tell the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Past:
    """One study."""

    name: str
    alike: tuple[bool, bool, int]
    """Whether its network and its optimiser are those of now, and how many hyperparameters it shares."""
    best: tuple[Params, ...]


def past_starts(spec: SweepSpec, space: Space, *, results: Path) -> PastStarts | None:
    """The best configurations of the studies that `search.learn_from` names; None where it names none.

    Args:
        spec: The sweep file.
        space: Its search space.
        results: Folder of all studies.

    Raises:
        StudyNotFoundError: there is no such folder, or no study in it.
    """
    given = spec.search.learn_from
    if not given:
        return None
    listed = [given] if isinstance(given, str) else given
    where = ", ".join(listed)
    folders = dict.fromkeys(folder for name in listed for folder in _studies_in(name, spec, results=results))
    pasts = [past for folder in folders if (past := _past_of(folder, spec, space)) is not None]
    if not pasts:
        rule = f"search.learn_from: no finished study in {where} shares a hyperparameter with this one"
        return PastStarts(starts=(), line=f"{rule}: the search begins without them")
    pasts.sort(key=lambda past: past.alike, reverse=True)  # equals stay in the order of their names
    by_rank = zip_longest(*(past.best for past in pasts))
    names = ", ".join(past.name for past in pasts)
    return PastStarts(
        starts=tuple(params for rank in by_rank for params in rank if params is not None),
        line=f"the search begins with configurations that were best in finished studies of {where}: {names}",
    )


def _studies_in(given: str, spec: SweepSpec, *, results: Path) -> Iterator[Path]:
    """The folder of this name if it is a study's, else those of the studies in it."""
    places = (Path(spec.root) / given, Path(given), results / given)
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        looked = " and ".join(dict.fromkeys(str(place) for place in places))
        raise StudyNotFoundError(f"search.learn_from: there is no folder {given}; looked at {looked}")
    if StudyPaths(folder).database.exists():
        yield folder.resolve()
        return
    inside = [one.resolve() for one in sorted(folder.glob("*/")) if StudyPaths(one).database.exists()]
    if not inside:
        raise StudyNotFoundError(
            f"search.learn_from: {folder} holds no study; give a folder of studies such as `results/`, or list studies"
        )
    yield from inside


def _past_of(folder: Path, spec: SweepSpec, space: Space) -> _Past | None:
    """What a study found, if it is another one than this, done, and about hyperparameters of this space."""
    from tuner.store.reader import read_study
    from tuner.store.standing import state_of
    from tuner.store.study_data import sweep_of

    if folder.name == spec.study:
        return None
    try:
        study = read_study(StudyPaths(folder), study=folder.name, with_rungs=False)
        old = sweep_of(study)
    except (StorageError, StudyNotFoundError, UsageError):  # of another version, damaged, or not of tuner
        return None
    searched = {d.name for d in build_space(old) if not d.fixed}
    shared = [d.name for d in space if not d.fixed and d.name in searched]
    if state_of(study)[0] != "finished" or not shared:
        return None
    same_model = (old.loop, old.model.kind) == (spec.loop, spec.model.kind)
    same_optimizer = searched_optimizers(old)[0] == searched_optimizers(spec)[0]
    values_of = settings_for if old.loop is None else loop_values
    best = [values_of(old, r.params) for r in rank_trials(study.records, direction=study.direction)[:_OF_A_STUDY]]
    starts = tuple({name: values[name] for name in space.names if name in values} for values in best)
    return _Past(name=study.name, alike=(same_model, same_optimizer, len(shared)), best=starts) if starts else None
