"""Which figures a report has, in order; a new one is a function and a line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from tuner.report.analysis import Analysis
from tuner.report.certainty.mistakes import Mistakes
from tuner.report.figures import mistakes, params, progress, quality, trade_off
from tuner.report.figures.style import lay_out, styled

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
    draw: Callable[[Analysis], Figure | None]
    """None if the study does not have what it shows."""


PLOTS: tuple[_Plot, ...] = (
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
        "The best trials, parameter by parameter",
        "Each line is a trial; each row a hyperparameter on its own scale.",
        params.parallel_coordinates,
    ),
)


_OF_MISTAKES: tuple[tuple[str, str, str, Callable[[Mistakes], Figure | None]], ...] = (
    (
        "confusion", "Which class is taken for which",
        "Counts; the darker, the larger the share of a class.", mistakes.confusion,
    ),
    (
        "curves", "ROC, and precision against recall",
        "Of the second class, over all thresholds; dashed: a guess.", mistakes.binary_curves,
    ),
    (
        "calibration", "Can its probabilities be believed?",
        "Below the dashed line it is surer than it should be.", mistakes.calibration,
    ),
    ("residuals", "Residuals", "Prediction less target; circles: the worst.", mistakes.residuals),
    ("worst", "The worst examples", "What they are taken for, and what they are.", mistakes.worst_images),
)  # fmt: skip
"""Of the best trial on a part: name, title, caption, and what draws it."""


def plots_of(analysis: Analysis) -> Iterator[_Plot]:
    """All plots of a study, those of its hyperparameters at the end."""
    for objective in analysis.front.objectives if analysis.front else ():
        yield _Plot(
            f"pareto_{objective.name}",
            "best",
            f"Pareto front: {analysis.study.metric} against {objective.name}",
            "Bars: 95 % intervals. Trials on the lower edge lie beyond it.",
            partial(trade_off.pareto, objective=objective),
        )
    yield from PLOTS
    for found in analysis.mistakes:
        for name, title, caption, draw in _OF_MISTAKES:
            yield _Plot(
                f"{name}_{found.part}",
                "mistakes",
                f"{title} ({found.part} set)",
                caption,
                lambda _, draw=draw, found=found: draw(found),  # type: ignore[misc]
            )
    moved = [d for d in analysis.space if not d.fixed and d.name not in analysis.kept]
    for dimension in moved[:_MAX_PARAMS]:
        yield _Plot(
            f"param_{re.sub('[^A-Za-z0-9_.-]', '_', dimension.name)[:60]}",
            "params",
            dimension.name,
            "Dots: trials by tier. Bars: the best of each bucket over all else, with its interval.",
            partial(params.against_metric, dimension=dimension),
        )


def drawn(analysis: Analysis) -> Iterator[tuple[_Plot, Figure]]:
    """Every plot that the study has something for, with its figure."""
    for plot in plots_of(analysis):
        with styled():
            figure = plot.draw(analysis)
            if figure is not None:
                lay_out(figure)
        if figure is not None:
            yield plot, figure
