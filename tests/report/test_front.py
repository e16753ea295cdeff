"""The Pareto front of studies whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.simulate import SimulatedStudy, simulate
from tuner.errors import TunerError, UsageError
from tuner.paths import StudyPaths
from tuner.records import Json
from tuner.report.analysis import Analysis
from tuner.report.certainty.front import best_within
from tuner.report.figures.drawing import drawn
from tuner.report.summary import summarise
from tuner.report.write import html_report
from tuner.spec.known.metrics import COSTS
from tuner.store.study_data import StudyData


def with_costs(study: StudyData, costs: dict[int, float], *, bound: float | None = None) -> StudyData:
    """The study with the costs of its trials as a second objective, bounded perhaps."""

    def facts(cost: float) -> dict[str, Json]:
        over = 0.0 if bound is None else max(0.0, cost - bound) / bound
        return {"objectives": {"flops": cost}, "violation": over}

    sweep = {**study.facts["sweep"]}
    sweep["objective"] = {**sweep["objective"], "others": [{"metric": "flops"}]}
    sweep["constraints"] = [] if bound is None else [{"metric": "flops", "max": bound}]
    records = tuple(replace(r, facts={**r.facts, **facts(costs[r.number])}) for r in study.records)
    return replace(study, records=records, facts={**study.facts, "sweep": sweep})


@pytest.fixture
def traded(mixed: SimulatedStudy) -> StudyData:
    rng = np.random.default_rng(0)
    costs = {r.number: float(np.exp(rng.uniform(5, 12))) for r in mixed.study.records}
    return with_costs(mixed.study, costs, bound=1e5)


def test_nothing_on_the_front_is_dominated_and_everything_else_is(traded: StudyData, mixed_paths: StudyPaths) -> None:
    analysis = Analysis(traded, mixed_paths)
    assert analysis.front is not None
    ranked = [r for r in analysis.statistics.ranked if r.violation == 0]
    for record in ranked:
        beaten = any(
            (o.value or 0) >= (record.value or 0)
            and o.objectives["flops"] <= record.objectives["flops"]
            and ((o.value or 0) > (record.value or 0) or o.objectives["flops"] < record.objectives["flops"])
            for o in ranked
        )
        assert (record.number in analysis.front.numbers) != beaten
    assert analysis.front.members[-1].lead is None
    assert all(m.lead is not None and m.lead > 0 for m in analysis.front.members[:-1])


def test_trials_that_break_a_constraint_rank_last_and_are_not_chosen(traded: StudyData) -> None:
    ranked = Analysis(traded, None).statistics.ranked
    violations = [r.violation for r in ranked]
    assert violations == sorted(violations)
    assert violations[-1] > 0


@pytest.mark.slow
def test_a_truly_undominated_network_is_on_the_front_or_marked_maybe() -> None:
    """Costs fall as numbers rise; the truth says which networks no cheaper one beats."""
    held, total = 0, 0
    for seed in range(12):
        found = simulate(trials=24, seed=seed, num_dev=300)
        study = with_costs(found.study, {r.number: 1e5 / (1 + r.number) for r in found.study.records})
        paths = StudyPaths(Path("nowhere"))
        analysis = Analysis(study, paths)
        analysis.__dict__["statistics"] = replace(analysis.statistics, scores=_scores(found))
        assert analysis.front is not None
        marked = analysis.front.numbers | {r.number for r in analysis.front.may_belong}
        truth = found.truth
        front = [n for n in truth if all(truth[n] >= truth[m] for m in truth if m > n)]
        held += sum(n in marked for n in front)
        total += len(front)
    assert held / total >= 0.95


def _scores(found: SimulatedStudy) -> object:
    from tuner.report.certainty.dev_scores import DevScores
    from tuner.report.certainty.resampling import resample_weights

    numbers = tuple(found.predictions)
    right = np.stack([found.predictions[n].argmax(axis=1) == found.targets for n in numbers])
    samples = resample_weights(len(found.targets), resamples=300)[1:] / len(found.targets) @ right.T.astype(float)
    return DevScores(numbers, "accuracy", right.mean(axis=1), samples, len(found.targets))


@pytest.mark.slow
def test_the_report_has_columns_words_a_table_and_a_figure(traded: StudyData, mixed_paths: StudyPaths) -> None:
    analysis = Analysis(traded, mixed_paths)
    assert list(analysis.frame.columns[-3:]) == ["flops", "front", "violation"]
    assert set(analysis.frame["front"]) >= {"yes", ""}
    said = "\n".join(summarise(analysis).lines)
    assert "Pareto front of accuracy and flops: trial " in said
    assert "break a constraint" in said
    page = html_report(analysis)
    assert "<h3>Pareto front</h3>" in page
    assert any(plot.name == "pareto_flops" for plot, _ in drawn(analysis))


def test_one_objective_has_no_front(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    analysis = Analysis(mixed.study, mixed_paths)
    assert analysis.front is None
    assert "front" not in analysis.frame.columns


def test_the_best_within_bounds(traded: StudyData) -> None:
    bound = float(np.median([r.objectives["flops"] for r in traded.records]))
    record, why = best_within(traded, objective="accuracy", bounds={"flops": bound})
    assert record.objectives["flops"] <= bound
    assert f"flops {bound:g}" in why
    cheapest, _ = best_within(traded, objective="flops", bounds={"accuracy": 0.5})
    assert (cheapest.value or 0.0) >= 0.5
    with pytest.raises(TunerError, match=r"no finished trial of simulated keeps within flops 1$"):
        best_within(traded, objective="accuracy", bounds={"flops": 1})
    with pytest.raises(UsageError, match="latency_ms was not measured"):
        best_within(traded, objective="latency_ms", bounds={})
    assert "latency_ms" in COSTS
