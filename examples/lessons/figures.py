"""The figure of each lesson, from its studies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes

from lessons.data import NOISE
from lessons.findings import errors
from lessons.studies import Row, Study


def learning_rate(axes: Axes, log: Study, linear: Study) -> None:
    for study, marker, label in ((log, "o", "log scale"), (linear, "s", "linear scale")):
        _against(axes, study, study.rows, "learning_rate", marker, label=label)
    axes.set(xscale="log", xlabel="learning rate", ylabel="dev accuracy")


def momentum(axes: Axes, study: Study) -> None:
    rows = sorted(study.rows, key=lambda row: float(row["momentum"]))
    axes.plot([1.0 - row["momentum"] for row in rows], [study.dev(row) for row in rows], "o-")
    axes.set(xscale="log", xlabel="1 - beta: 0.1 is a momentum of 0.9", ylabel="dev loss")
    axes.invert_xaxis()


def coarse_to_fine(axes: Axes, fine: Study, coarse: Study) -> None:
    for study, label in ((fine, "coarse to fine"), (coarse, "coarse only")):
        losses = [study.dev(row) for row in sorted(study.rows, key=lambda row: int(row["trial"]))]
        (line,) = axes.plot(list(accumulate(losses, min)), label=f"{label}, best so far")
        axes.plot(losses, "o", color=line.get_color(), markersize=3)
    axes.set(yscale="log", xlabel="trial", ylabel="dev loss")
    axes.legend()


def l2(axes: Axes, trained: Study, stopped: Study) -> None:
    least = min(trained.rows, key=lambda row: float(row["weight_decay"]))
    for row in (least, trained.best_at_end(trained.rows)):
        _curve(axes, trained, row, label=f"L2 of {row['weight_decay']:g}")
    _curve(axes, stopped, stopped.rows[0], label="early stopping")
    axes.set(xlabel="epoch", ylabel="dev accuracy")
    axes.legend()


def dropout(axes: Axes, variance: Study, bias: Study) -> None:
    for study, label in ((variance, "variance: 180 examples, 128 units"), (bias, "bias: 899 examples, 8 units")):
        rows = sorted(study.rows, key=lambda row: float(row["dropout"]))
        below = [study.dev(row) - row["ci_low"] for row in rows]
        above = [row["ci_high"] - study.dev(row) for row in rows]
        rates, accuracies = [row["dropout"] for row in rows], [study.dev(row) for row in rows]
        axes.errorbar(rates, accuracies, [below, above], fmt="o-", capsize=3, label=label)
    axes.set(xlabel="dropout", ylabel="dev accuracy")
    axes.legend()


def init(axes: Axes, study: Study) -> None:
    for kind in ("he", "xavier", "normal", "zero"):
        for row in study.where(init=kind)[:1]:
            _curve(axes, study, row, label=f"{kind}, learning rate {row['learning_rate']:g}")
    axes.set(xlabel="epoch", ylabel="dev accuracy")
    axes.legend()


def batch_norm(axes: Axes, study: Study) -> None:
    for norm, label in (("batch", "batch norm"), ("none", "no norm")):
        rows = sorted(study.where(norm=norm), key=lambda row: float(row["learning_rate"]))
        _against(axes, study, rows, "learning_rate", "o-", label=label)
    axes.set(xscale="log", xlabel="learning rate", ylabel="dev accuracy")


def lr_decay(axes: Axes, study: Study) -> None:
    decayed = [row for row in study.rows if row["lr_decay"] > 0.0]
    for row in (study.best_at_end(study.where(lr_decay=0.0)), study.best_at_end(decayed)):
        _curve(axes, study, row, label=f"learning rate {row['learning_rate']:g}, decay rate {row['lr_decay']:g}")
    axes.axhline(NOISE, color="grey", linestyle=":", label="the noise")
    axes.set(xlabel="epoch", ylabel="dev RMSE")
    axes.legend()


def mismatch(axes: Axes, dev: Study, train_dev: Study, synthesis: Study) -> None:
    found = errors(dev, train_dev, synthesis)
    axes.bar_label(axes.bar(list(found), list(found.values())), fmt="%.3f")
    axes.set(ylabel="error")


def _against(axes: Axes, study: Study, rows: Sequence[Row], name: str, style: str, *, label: str) -> None:
    axes.plot([row[name] for row in rows], [study.dev(row) for row in rows], style, label=label)
    axes.legend()


def _curve(axes: Axes, study: Study, row: Row, *, label: str) -> None:
    curve = study.curve(row)
    axes.plot(curve["epoch"], curve["dev_metric"], label=label)
