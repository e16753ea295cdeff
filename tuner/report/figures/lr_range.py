"""The figure of a learning-rate range test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import NullFormatter

from tuner.diagnose.lr_range import Suggestion, smoothed
from tuner.report.figures.palette import BLUE, GREEN, GREY
from tuner.report.figures.style import new_figure, styled, to_png
from tuner.report.files import write_output


def write_lr_range(path: Path, rates: Sequence[float], losses: Sequence[float], suggestion: Suggestion | None) -> None:
    """Draw the loss against the rate, with what is suggested, into a PNG file."""
    with styled():
        figure = new_figure(height_inches=2.6)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")  # the usual one writes mathematics
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.plot(rates, losses, "o", color=GREY, markersize=2.5, label="after each step")
        smooth = smoothed(losses)
        axes.plot(rates[: len(smooth)], smooth, color=BLUE, label="smoothed")
        if suggestion is not None:
            axes.axvspan(suggestion.low, suggestion.high, color=GREEN, alpha=0.12, label="range to search")
            axes.axvline(suggestion.learning_rate, color=GREEN, label=f"suggested: {suggestion.learning_rate:g}")
        if smooth:
            spread = max(max(smooth[:1]) - min(smooth), 1e-6)
            axes.set_ylim(min(smooth) - 0.1 * spread, smooth[0] + 0.6 * spread)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("training loss")
        axes.legend(loc="lower left")
        write_output(path, to_png(figure))
