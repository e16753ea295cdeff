"""Which figures a report has, in order; a new one is a function and a line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tuner.report.analysis import Analysis
from tuner.report.certainty.mistakes import Mistakes
from tuner.report.figures import mistakes, params, progress, quality, trade_off
from tuner.report.figures.chart import Drawing, Figure

_MAX_PARAMS = 24
"""Figures of single hyperparameters, at most."""


@dataclass(frozen=True, slots=True)
class _Plot:
    """A figure of the report."""

    name: str
    """Of its PNG file, and of its place in the page."""
    section: str
    """The part of the page that it belongs to."""
    title: str
    caption: str
    make: Callable[[Analysis], Drawing | None]
    """None if the study does not have what it shows."""


_PLOTS: tuple[_Plot, ...] = (
    _Plot(
        "ranking",
        "best",
        "How sure is the ranking?",
        "Dev metric of the best trials with its interval from the size of the dev set.",
        quality.ranking,
    ),
    _Plot(
        "error_parts",
        "best",
        "Where the dev error comes from",
        "Target error, bias above it (train), variance above that (dev).",
        quality.error_parts,
    ),
    _Plot(
        "training_curves",
        "best",
        "Curves of the best",
        "Dev (solid) and train (dashed); the dot is the best epoch.",
        progress.training_curves,
    ),
    _Plot("loss_curves", "best", "Loss of the best", "Dev (solid) and train (dashed).", progress.loss_curves),
    _Plot(
        "finalists",
        "best",
        "Finalists on fresh seeds",
        "The search's own score is partly luck; the mean of fresh seeds is not.",
        quality.finalists,
    ),
    _Plot(
        "learning_curve",
        "best",
        "Learning curve: would more data help?",
        "The best configuration trained on parts of the training examples; bars: 95 % intervals.",
        progress.learning_curve,
    ),
    _Plot(
        "best_so_far",
        "search",
        "Best so far",
        "Each trial by the tier that proposed it; trials on the lower edge lie beyond it.",
        progress.best_so_far,
    ),
    _Plot(
        "more_trials",
        "search",
        "Would more trials help?",
        "Expected best of so many random trials of this study.",
        progress.more_trials,
    ),
    _Plot(
        "train_dev_gap",
        "search",
        "Train against dev",
        "Below the dashed line the network does better in training than on new examples.",
        quality.train_dev_gap,
    ),
    _Plot(
        "importance",
        "params",
        "What matters",
        "A bar that ends before its mark is no more than luck.",
        params.importance,
    ),
    _Plot(
        "parallel_coordinates",
        "params",
        "Trials, parameter by parameter",
        "Each line is a trial; drag along a row of the page to choose trials.",
        params.parallel_coordinates,
    ),
)


_OF_MISTAKES: tuple[tuple[str, str, str, Callable[[Mistakes], Drawing | None]], ...] = (
    (
        "confusion", "Which class is taken for which",
        "Counts; the darker, the larger the share of a class.", mistakes.confusion,
    ),
    ("roc", "ROC", "Of the second class, over all thresholds; dashed: a guess.", mistakes.roc),
    (
        "precision_recall", "Precision against recall",
        "Of the second class, over all thresholds; dashed: a guess.", mistakes.precision_recall,
    ),
    (
        "calibration", "Can its probabilities be believed?",
        "Below the dashed line it happens less often than was said, above it more often.", mistakes.calibration,
    ),
    ("worst", "The worst examples", "What they are taken for, and what they are.", mistakes.worst_images),
)  # fmt: skip
"""Of the best trial on a part: name, title, caption, and what makes it."""


def figures_of(analysis: Analysis) -> Iterator[Figure]:
    """Every figure that the study has something for, those of its hyperparameters at the end."""
    for plot in _plots_of(analysis):
        drawing = plot.make(analysis)
        if drawing is not None:
            yield Figure(name=plot.name, section=plot.section, title=plot.title, caption=plot.caption, drawing=drawing)


def _plots_of(analysis: Analysis) -> Iterator[_Plot]:
    for objective in analysis.front.objectives if analysis.front else ():
        yield _Plot(
            f"pareto_{objective.name}",
            "best",
            f"Pareto front: {analysis.study.metric} against {objective.name}",
            "Bars: 95 % intervals. Trials on the edge lie beyond it.",
            partial(trade_off.pareto, objective=objective),
        )
    yield from _PLOTS
    for found in analysis.mistakes:
        yield from _of_mistakes(found)
    moved = [d for d in analysis.space if not d.fixed and d.name not in analysis.kept]
    for dimension in moved[:_MAX_PARAMS]:
        yield _Plot(
            f"param_{_file_name(dimension.name)}",
            "params",
            dimension.name,
            "Dots: trials by tier. Bars: the best of each bucket over all else, with its interval.",
            partial(params.against_metric, dimension=dimension),
        )


def _of_mistakes(found: Mistakes) -> Iterator[_Plot]:
    for name, title, caption, make in _OF_MISTAKES:
        yield _Plot(
            f"{name}_{found.part}",
            "mistakes",
            f"{title} ({found.part} set)",
            caption,
            lambda _, make=make: make(found),  # type: ignore[misc]
        )
    for number, (target, chart) in enumerate(mistakes.residuals(found)):
        yield _Plot(
            f"residuals_{found.part}" + (f"_{number + 1}" if number else ""),
            "mistakes",
            f"Residuals of {target} ({found.part} set)",
            "Prediction less target; circles: the worst.",
            lambda _, chart=chart: chart,  # type: ignore[misc]
        )


def _file_name(name: str) -> str:
    return re.sub("[^A-Za-z0-9_.-]", "_", name)[:60]
