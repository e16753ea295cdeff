"""From a sweep file to its reports: what `tuner run` does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.diagnose.resolution import folds_instead
from tuner.errors import StorageError, StudyNotFoundError
from tuner.execute.beside import begin_baselines
from tuner.execute.facts import TaskFacts
from tuner.execute.local import LocalExecutor
from tuner.execute.open import open_executor
from tuner.faults import fault_point
from tuner.paths import LinkInStudyError, StudyPaths, TrialPaths
from tuner.ranking import KEEP_WEIGHTS, best_trial, rank_trials
from tuner.records import PHASES, Json, TrialRecord
from tuner.spec.defaults import build_space
from tuner.spec.known.networks import MODELS
from tuner.spec.model import SweepSpec
from tuner.spec.objectives import further_objectives
from tuner.store.study_data import FINALISTS, ON_PARTS
from tuner.sweep.baselines import Baselines
from tuner.sweep.earlier import earlier_trials
from tuner.sweep.ending import why_ended
from tuner.sweep.finalists import FinalistStrategy
from tuner.sweep.finished import Basis
from tuner.sweep.keeper import Keeper
from tuner.sweep.log import LogFile
from tuner.sweep.loop import Sweep
from tuner.sweep.needs import MemoryNeed
from tuner.sweep.on_parts import PartsPlan, PartsStrategy
from tuner.sweep.options import RunOptions
from tuner.sweep.outcome import Outcome
from tuner.sweep.past import past_starts
from tuner.sweep.reports import Reports, Wanted
from tuner.sweep.standing import StandingNotes
from tuner.sweep.stop import StopRequest
from tuner.sweep.study import (
    CodeVersions,
    came_so_far,
    check_matches,
    describe,
    dev_noise,
    differences,
    failed_trials,
    set_aside,
    sweep_up,
)
from tuner.sweep.told import Told
from tuner.sweep.watcher import Watcher, Watchers

if TYPE_CHECKING:  # the database's libraries are imported while the workers load the data
    from tuner.execute.executor import Executor
    from tuner.search.strategy import Strategy
    from tuner.store.optuna_store import OptunaStore

log = logging.getLogger(__name__)


class StudyRun:
    """One run of a study: its parts, opened in the order in which they can fail."""

    def __init__(self, spec: SweepSpec, options: RunOptions, watcher: Watcher, stop: StopRequest) -> None:
        self.spec = spec
        self.options = options
        self.stop = stop
        self.paths = StudyPaths((options.results / spec.study).resolve())
        self.watcher = Watchers([watcher, LogFile(self.paths.log)])
        self.space = build_space(spec)
        self._began = time.monotonic()
        """When the search began: all its seconds of earlier runs before now."""
        self._basis = Basis.of(spec)  # before anything is read: what changes meanwhile is not what results stand on
        self._first_lines: list[str] = []
        """What to say once there is a study."""
        self.code: CodeVersions | None = None
        self.baselines: Baselines | None = None
        self.reports = Reports()
        self._needs: list[MemoryNeed] = []

    def run(self) -> Outcome:
        """Search, train the finalists again, write the reports' tables; the rest of them is left to the outcome."""
        try:
            return self._run(self.options)
        except BaseException:
            self.reports.close()
            raise

    def _run(self, options: RunOptions) -> Outcome:
        self._check_places()
        executor = open_executor(self.spec, self.paths, options.where, meanwhile=self._load)
        with closing(executor):
            facts = executor.facts
            if isinstance(executor, LocalExecutor):
                num_workers, trials = len(executor.workers), self.spec.search.trials
                self._needs = [MemoryNeed(num_workers=num_workers, num_trials=trials, say=self.watcher.said)]
            proposal = folds_instead(facts.metric, facts.data, self.spec.model_dump(mode="json"))
            self._first_lines += [
                str(line) for line in (facts.data.get("columns"), *facts.data.get("notes", ()), proposal) if line
            ]
            if self._is_new_model(facts):
                executor.check_model()
            # What keeps the search from being set up is said before there is a study.
            strategy = self._strategy(facts) if options.searches else None
            with self._open(executor, self.spec.study, fresh=options.fresh) as store:
                fault_point("after_claim")
                check_matches(store, self.spec, facts)
                if store.get("sweep") is None:  # a new study: files of trials are of one that is no more
                    set_aside(self.paths)
                    if options.fresh:
                        self._open(executor, self.finalists, fresh=True).close()
                sweep_up(self.paths)
                folder = self.options.results / self.spec.study
                if folder.is_symlink():
                    self.watcher.said(f"{folder} is a link: all files of the study are written to {self.paths.folder}")
                if changed := differences(store, self.spec, facts):
                    log.warning(
                        "since this study was run last, %s; trials from now on may not be comparable with those before",
                        ", and ".join(changed),
                    )
                describe(store, self.spec, self.space, facts, command=options.command)
                fault_point("after_describe")
                self.watcher.opened(store.records(), metric=facts.metric, direction=facts.direction)
                self.code = CodeVersions(store)
                notes = StandingNotes(store, self.stop, search_only_before=not options.searches)
                begin = partial(begin_baselines, executor, self.spec, self.paths)
                self.baselines = Baselines(
                    self.spec, store, facts, begin=begin, say=self.watcher.said, again=options.retry_failed
                )
                with closing(self.baselines), notes.of_stops():
                    if options.parts is not None:
                        complete = self._train_on_parts(executor, options.parts)
                    else:
                        complete = self._search_and_confirm(strategy, store, executor, notes)
                any_complete = best_trial(store.records(), direction=facts.direction) is not None
        fault_point("before_reports")
        in_full = self.stop.signal is None
        drawing = self.reports.write(
            Wanted(
                paths=self.paths,
                study=self.spec.study,
                url=options.store_url,
                in_full=in_full,
                basis=self._basis if complete and in_full and options.searches else None,
            )
        )
        return Outcome(
            paths=self.paths,
            complete=complete,
            any_complete=any_complete,
            signal=self.stop.signal,
            search_end=notes.now.search_end,
            conclusion=next(drawing),
            drawing=drawing,
        )

    def _load(self) -> None:
        """Import the libraries of the database, and look whether there is such a strategy."""
        import tuner.store.optuna_store  # noqa: F401
        from tuner.search.registry import maker_of

        maker_of(self.spec.search, root=self.spec.root)

    def _check_places(self) -> None:
        """Make sure that all that is written goes into the study's folder.

        Raises:
            StorageError: something in it leads elsewhere.
        """
        try:
            self.paths.check_places()
        except LinkInStudyError as error:
            raise StorageError(str(error)) from error

    def _is_new_model(self, facts: TaskFacts) -> bool:
        """Whether the model is the user's, and not the one whose trials the study has."""
        if self.spec.loop is not None or self.spec.model.kind in MODELS:
            return False
        if self.options.fresh:
            return True
        from tuner.store.reader import read_study

        try:
            study = read_study(self.paths, study=self.spec.study, url=self.options.store_url)
        except (StudyNotFoundError, StorageError):  # what is wrong with a database is said when it is opened
            return True
        return bool(study.facts.get("code_files") != facts.code)

    def _search_and_confirm(
        self, strategy: Strategy | None, store: OptunaStore, executor: Executor, notes: StandingNotes
    ) -> bool:
        """Whether all is done that the sweep file asks for, when this has done its part."""
        complete = strategy is None or self._search(strategy, store, executor, notes)
        if complete and self.spec.finalists is not None:
            notes.come_to("finalists")
            complete = self._confirm(store, executor)
        if complete:
            notes.come_to("done")
            self.reports.begin()
            assert self.baselines is not None
            self.baselines.conclude(self.stop)
        return complete

    @property
    def finalists(self) -> str:
        """The study of the finalists' re-trainings."""
        return f"{self.spec.study}/{FINALISTS}"

    def _open(self, executor: Executor, study: str, *, fresh: bool = False) -> OptunaStore:
        from tuner.store.optuna_store import open_store

        return open_store(
            self.paths,
            study=study,
            direction=executor.facts.direction,
            metric=executor.facts.metric,
            space=self.space,
            seed=self.spec.search.seed,
            url=self.options.store_url,
            fresh=fresh,
        )

    def _strategy(self, facts: TaskFacts) -> Strategy:
        from tuner.execute.planner import Planner
        from tuner.search.portfolio import learned_starts
        from tuner.search.registry import open_strategy

        learned = learned_starts(self.spec, self.space)
        past = past_starts(self.spec, self.space, results=self.options.results)
        self._first_lines += [found.line for found in (past, learned) if found is not None]
        return open_strategy(
            self.spec,
            self.space,
            facts.direction,
            noise=partial(dev_noise, facts.metric, facts.data),
            elapsed_seconds=lambda: time.monotonic() - self._began,
            earlier=self._earlier(facts.data),
            learned=learned.starts if learned else (),
            past=past.starts if past else (),
            cohorts=Planner(self.spec, facts, num_workers=1).cohorts,
        )

    def _search(self, strategy: Strategy, store: OptunaStore, executor: Executor, notes: StandingNotes) -> bool:
        self._began = time.monotonic() - float(store.get("elapsed_seconds") or 0.0)
        for line in (*self._first_lines, *came_so_far(store, executor.facts, trials=self.spec.search.trials)):
            self.watcher.said(line)
        finalists = self.spec.finalists.count if self.spec.finalists else 0
        if not finalists:
            self.reports.expect(self.spec.search.trials)
        objectives = further_objectives(self.spec)
        keep = max(KEEP_WEIGHTS, finalists)
        keeper = Keeper(self.paths.trial, direction=store.direction, keep=keep, objectives=objectives)
        keeper.tidy(store.records())
        try:
            with closing(Told(self.paths.told)) as told:
                sweep = self._sweep(strategy, store, executor, keeper)(
                    folders=lambda n: self.paths.trial(n).folder, told=told, trial_seed=self.spec.search.trial_seed,
                    facts=self._changes_of if self.spec.training.changes else None,
                )  # fmt: skip
                complete = sweep.run(failed_trials(store) if self.options.retry_failed else ())
            if complete:
                notes.come_to("finalists", search_end=why_ended(strategy, store, trials=self.spec.search.trials))
            return complete
        finally:
            store.set("elapsed_seconds", time.monotonic() - self._began)
            store.flush()

    def _changes_of(self, number: int) -> Mapping[str, Json]:
        """The first facts of a trial whose values change as the sweep file says."""
        changes = [{**change} for change in self.spec.training.changes]
        after = [int(change.pop("after_epoch")) for change in changes]
        values = [{name: float(value) for name, value in change.items()} for change in changes]
        parts = zip([0, *after], [{}, *values], strict=True)
        return {PHASES: [{"from_epoch": epoch, "trial": number, "values": own} for epoch, own in parts]}

    def _earlier(self, data: Mapping[str, Json]) -> tuple[TrialRecord, ...]:
        """Trials of the study that `search.warm_start` names."""
        earlier = earlier_trials(
            self.spec, self.space, data, results=self.options.results, store_url=self.options.store_url
        )
        if earlier is None:
            return ()
        self._first_lines.append(earlier.line)
        return earlier.records

    def _sweep(self, strategy: Strategy, store: OptunaStore, executor: Executor, keeper: Keeper) -> partial[Sweep]:
        assert self.baselines is not None
        watcher = Watchers([self.watcher, keeper, self.baselines, self.reports, *self._needs])
        return partial(
            Sweep, strategy, store, executor, limits=self.spec.limits, watcher=watcher, stop=self.stop,
            trained_by=self.code.keep if self.code else None,
        )  # fmt: skip

    def _confirm(self, store: OptunaStore, executor: Executor) -> bool:
        """Train the finalists on fresh seeds, as far as that has not been done; returns whether it is done."""
        rule = self.spec.finalists
        assert rule is not None
        chosen = rank_trials(store.records(), direction=store.direction)[: rule.count]
        if not chosen:
            return True
        self.reports.expect(len(chosen) * rule.seeds)
        plan = partial(FinalistStrategy, chosen, seeds=rule.seeds, epochs=self.spec.training.epochs)
        return self._train_again(executor, FINALISTS, plan, files=self.paths.finalist, told=self.paths.finalists_told)

    def _train_on_parts(self, executor: Executor, wanted: PartsPlan) -> bool:
        """Train on parts of the training examples, as far as that has not been done; returns whether it is done."""
        plan = partial(PartsStrategy, wanted, epochs=self.spec.training.epochs)
        return self._train_again(executor, ON_PARTS, plan, files=self.paths.on_part, told=self.paths.on_parts_told)

    def _train_again(
        self, executor: Executor, beside: str, plan: Callable[..., FinalistStrategy | PartsStrategy], *,
        files: Callable[[int], TrialPaths], told: Path,
    ) -> bool:  # fmt: skip
        """Train configurations of the search once more, in a study beside it; returns whether all is done.

        Args:
            executor: Trains.
            beside: The study's name, behind that of the search.
            plan: Makes the strategy of the trainings that there are, `before`.
            files: Where those of a training go.
            told: See `Told`.
        """
        with self._open(executor, f"{self.spec.study}/{beside}", fresh=False) as store:
            self.watcher.opened(store.records(), metric=executor.facts.metric, direction=executor.facts.direction)
            strategy = plan(before=store.records())
            if strategy.what_is_left:
                self.watcher.said(strategy.what_is_left)
            keeper = Keeper(files, direction=store.direction, keep=strategy.num_weights)
            keeper.tidy(store.records())
            with closing(Told(told)) as own_told:
                sweep = self._sweep(strategy, store, executor, keeper)(
                    folders=lambda n: files(n).folder,
                    told=own_told,
                    facts=strategy.facts,
                )
                return sweep.run()


def run_sweep(spec: SweepSpec, options: RunOptions, watcher: Watcher) -> Outcome:
    """Run or continue a sweep, and write its reports.

    Raises:
        TunerError: see `tuner.errors`; what was trained until then is kept.
    """
    stop = StopRequest()
    with stop.on_signals(), stop.after(options.seconds):
        return StudyRun(spec, options, watcher, stop).run()
