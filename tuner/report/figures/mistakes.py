"""Figures of what a network gets wrong: confusion, curves of a binary answer, calibration, residuals, images."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tuner.report.certainty.mistakes import Mistakes
from tuner.report.figures.style import BLUE, INK, ORANGE, RED, new_figure, short

_MOST_NUMBERS = 14
"""Classes up to which a confusion matrix has its counts written in it."""
_MOST_NAMES = 30
_MOST_POINTS = 2000
_COLUMNS, _ROWS = 6, 3
"""Of images."""


def confusion(found: Mistakes) -> Figure | None:
    """How often each class is taken for each, as a share of its examples."""
    count = len(found.names)
    if not found.is_classes or count < 2:
        return None
    counts = found.confusion().iloc[:, 1:].to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(height_inches=min(4.4, 1.6 + 0.26 * count))
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    axes.grid(visible=False)
    if count <= _MOST_NUMBERS:
        for row in range(count):
            for column in range(count):
                if counts[row, column]:
                    colour = "white" if shares[row, column] > 0.5 else "#303030"
                    axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=7)
    if count <= _MOST_NAMES:
        names = [short(name, 12) for name in found.names]
        axes.set_xticks(range(count), names, rotation=0 if max(map(len, names)) <= 3 else 60)
        axes.set_yticks(range(count), names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    return figure


def binary_curves(found: Mistakes) -> Figure | None:
    """ROC, and precision against recall, of a binary answer."""
    if not found.is_binary or len(np.unique(found.targets)) < 2:
        return None
    figure = new_figure(height_inches=2.6)
    left, right = figure.subplots(1, 2)
    roc, curve = found.roc(), found.precision_recall()
    false = [0.0, *roc["false_positive_rate"], 1.0]
    left.step(false, [0.0, *roc["true_positive_rate"], 1.0], where="post", color=BLUE)
    left.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    left.set_xlabel("false positives")
    left.set_ylabel("true positives")
    right.step(curve["recall"], curve["precision"], where="post", color=ORANGE)
    share = float((np.asarray(found.targets) == 1).mean())
    right.plot([0, 1], [share, share], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    right.set_xlabel("recall")
    right.set_ylabel("precision")
    for axes in (left, right):
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
    return figure


def calibration(found: Mistakes) -> Figure | None:
    """The share of right answers against the probability that they were given with."""
    if not (found.is_classes or found.is_labels):
        return None
    table = found.calibration()
    figure = new_figure(height_inches=2.8)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="as good as its word")
    axes.plot(table["probability"], table["share_right"], color=BLUE, linewidth=1.0)
    sizes = 12 + 120 * table["examples"] / table["examples"].max()
    axes.scatter(table["probability"], table["share_right"], s=sizes, color=BLUE, label="bins, by their examples")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    positive = f"probability of {short(found.names[1])}" if found.is_binary else "probability of the answer"
    axes.set_xlabel("probability of a label" if found.is_labels else positive)
    axes.set_ylabel("share that is so")
    axes.legend(loc="upper left", handletextpad=0.4)
    return figure


def residuals(found: Mistakes) -> Figure | None:
    """Residuals against predictions; the worst examples are marked."""
    if found.is_classes or found.is_labels:
        return None
    truth = np.asarray(found.targets, dtype=np.float64).reshape(found.predictions.shape)
    shown = min(len(found.names), 4)
    figure = new_figure(height_inches=0.5 + 2.2 * shown)
    order = found.worst_first()
    chosen = np.linspace(0, len(order) - 1, min(len(order), _MOST_POINTS)).astype(int)
    for column, axes in enumerate(np.atleast_1d(figure.subplots(shown, 1))):
        said, apart = found.predictions[:, column], found.predictions[:, column] - truth[:, column]
        axes.axhline(0.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.plot(said[order[chosen]], apart[order[chosen]], "o", color=BLUE, markersize=3, alpha=0.6)
        axes.plot(said[order[:5]], apart[order[:5]], "o", color=RED, markersize=5, markerfacecolor="none")
        axes.set_xlabel(f"predicted {short(found.names[column])}")
        axes.set_ylabel("residual")
    return figure


def worst_images(found: Mistakes) -> Figure | None:
    """The images of the largest loss, with what they are taken for and what they are."""
    if found.images is None or not found.is_classes:
        return None
    order = found.worst_first()[: _COLUMNS * _ROWS]
    rows = -(-len(order) // _COLUMNS)
    figure = new_figure(height_inches=0.1 + 0.95 * rows)
    for axes in (panels := figure.subplots(rows, _COLUMNS, squeeze=False).ravel()):
        axes.set_axis_off()
    for axes, example in zip(panels, order, strict=False):
        pixels = np.moveaxis(found.images[example], 0, -1)
        axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", interpolation="nearest")
        said, truth = found.predictions[example].argmax(), int(found.targets[example])
        where = "" if found.rows is None else f"\nrow {found.rows[example]}"
        axes.set_title(f"{short(found.names[said], 8)}, is {short(found.names[truth], 8)}{where}", fontsize=6.0, pad=2)
    return figure
