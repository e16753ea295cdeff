"""Figures of what a network gets wrong: confusion, curves of a binary answer, calibration, residuals, images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tuner.report.certainty.mistakes import Mistakes
from tuner.report.figures.chart import Axis, Cells, Chart, Line, Pictures, Points
from tuner.report.figures.palette import BLUE, INK, ORANGE, RED, short

_MOST_NUMBERS = 14
"""Classes up to which a confusion matrix has its counts written in it."""
_MOST_NAMES = 30
_MOST_POINTS = 2000
_MOST_IMAGES = 18
_MOST_TARGETS = 4
"""Figures of residuals."""
_SHARE = (-0.02, 1.02)


def confusion(found: Mistakes) -> Chart | None:
    """How often each class is taken for each, as a share of its examples."""
    count = len(found.names)
    if not found.is_classes or count < 2:
        return None
    counts = found.confusion().iloc[:, 1:].to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    written = count <= _MOST_NUMBERS
    names = [short(name, 12) for name in found.names]
    shown = names if count <= _MOST_NAMES else []
    return Chart(
        x=Axis(label="taken for", limits=(-0.5, count - 0.5), ticks=tuple(enumerate(shown)), grid=False),
        y=Axis(
            label="class", limits=(0.5 - count, 0.5), ticks=tuple((-row, name) for row, name in enumerate(shown)),
            grid=False,
        ),
        marks=(
            Cells(
                shares=shares.tolist(),
                texts=[[str(n) if n and written else "" for n in row] for row in counts.tolist()],
                tips=[
                    [f"{n} of class {names[row]} taken for {names[column]}" for column, n in enumerate(of_class)]
                    for row, of_class in enumerate(counts.tolist())
                ],
            ),
        ),
        height=min(4.4, 1.6 + 0.26 * count),
    )  # fmt: skip


def roc(found: Mistakes) -> Chart | None:
    """True against false positives of a binary answer."""
    if not found.is_binary or len(np.unique(found.targets)) < 2:
        return None
    table = found.roc()
    x, y = ([0.0, *table[name]] for name in ("false_positive_rate", "true_positive_rate"))
    return Chart(
        x=Axis(label="false positives", limits=_SHARE, form="percent"),
        y=Axis(label="true positives", limits=_SHARE, form="percent"),
        marks=(
            Line(x=[*x, 1.0], y=[*y, 1.0], step="post", colour=BLUE),
            Line(x=[0, 1], y=[0, 1], colour=INK, width=0.8, dashed=True),
        ),
    )


def precision_recall(found: Mistakes) -> Chart | None:
    """Precision against recall of a binary answer."""
    if not found.is_binary or len(np.unique(found.targets)) < 2:
        return None
    table = found.precision_recall()
    share = float((np.asarray(found.targets) == 1).mean())
    return Chart(
        x=Axis(label="recall", limits=_SHARE, form="percent"),
        y=Axis(label="precision", limits=_SHARE, form="percent"),
        marks=(
            Line(x=[*table["recall"]], y=[*table["precision"]], step="post", colour=ORANGE),
            Line(x=[0, 1], y=[share, share], colour=INK, width=0.8, dashed=True),
        ),
    )


def calibration(found: Mistakes) -> Chart | None:
    """The share of right answers against the probability that they were given with."""
    if not (found.is_classes or found.is_labels):
        return None
    table = found.calibration()
    x, y = table["probability"].to_numpy(), table["share_right"].to_numpy()
    sizes = np.sqrt(12 + 120 * table["examples"].to_numpy() / table["examples"].max())
    tips = [
        f"{count:,} examples: {probability:.0%} said, {share:.0%} right"
        for count, probability, share in zip(table["examples"], x, y, strict=True)
    ]
    positive = f"probability of {short(found.names[1])}" if found.is_binary else "probability of the answer"
    return Chart(
        x=Axis(label="probability of a label" if found.is_labels else positive, limits=_SHARE),
        y=Axis(label="share that is so", limits=_SHARE),
        marks=(
            Line(x=[0, 1], y=[0, 1], colour=INK, width=0.8, dashed=True, label="as good as its word"),
            Line(x=x, y=y, colour=BLUE, width=1.0),
            Points(x=x, y=y, sizes=sizes, colour=BLUE, label="bins, by their examples", tips=tips),
        ),
        height=2.8,
    )


def residuals(found: Mistakes) -> Iterator[tuple[str, Chart]]:
    """For each target its name, and residuals against predictions; the worst examples are marked."""
    if found.is_classes or found.is_labels:
        return
    truth = np.asarray(found.targets, dtype=np.float64).reshape(found.predictions.shape)
    order = found.worst_first()
    some = order[np.linspace(0, len(order) - 1, min(len(order), _MOST_POINTS)).astype(int)]
    for column, name in enumerate(found.names[:_MOST_TARGETS]):
        said, apart = found.predictions[:, column], found.predictions[:, column] - truth[:, column]
        worst = [f"row {found.rows[i]}" if found.rows is not None else "one of the worst" for i in order[:5]]
        yield (
            name,
            Chart(
                x=Axis(label=f"predicted {short(name)}", limits=_around(said[some])),
                y=Axis(label="residual", limits=_around(apart[some])),
                marks=(
                    Line(x=_around(said[some]), y=[0.0, 0.0], colour=INK, width=0.8, dashed=True),
                    Points(x=said[some], y=apart[some], colour=BLUE, sizes=3.0, alpha=0.6),
                    Points(x=said[order[:5]], y=apart[order[:5]], colour=RED, hollow=True, tips=worst),
                ),
            ),
        )


def _around(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - pad, high + pad


def worst_images(found: Mistakes) -> Pictures | None:
    """The images of the largest loss, with what they are taken for and what they are."""
    if found.images is None or not found.is_classes:
        return None
    pixels, titles = [], []
    for example in found.worst_first()[:_MOST_IMAGES]:
        image = np.moveaxis(found.images[example], 0, -1)
        pixels.append(np.asarray(image[..., 0] if image.shape[-1] == 1 else image, dtype=np.uint8))
        said, truth = found.predictions[example].argmax(), int(found.targets[example])
        where = "" if found.rows is None else f"\nrow {found.rows[example]}"
        titles.append(f"{short(found.names[said], 8)}, is {short(found.names[truth], 8)}{where}")
    return Pictures(pixels=pixels, titles=titles)
