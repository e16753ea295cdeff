"""What each lesson claims, held against the numbers of its studies, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from lessons.data import NOISE
from lessons.studies import Study

TOLERATED = 0.05
"""A learning rate works if its accuracy is no further below the best."""


@dataclass(frozen=True)
class Finding:
    """What a lesson has shown."""

    sentence: str
    gain: float
    """By how much the lesson's claim is true; it is not where this is zero or less."""


def learning_rate(log: Study, linear: Study) -> Finding:
    said = []
    for scale, study in (("log", log), ("linear", linear)):
        low = sum(row["learning_rate"] < 0.1 for row in study.rows)
        best = study.said(study.rows[0])
        said.append(f"on a {scale} scale {low} of {len(study.rows)} lie below 0.1 and the best has dev accuracy {best}")
    return Finding(
        f"Learning rates at random from 0.0001 to 1: {'; '.join(said)}.",
        log.dev(log.rows[0]) - linear.dev(linear.rows[0]),
    )


def momentum(study: Study) -> Finding:
    low, near, high, beyond = (study.dev(study.where(momentum=beta)[0]) for beta in (0.9, 0.9005, 0.999, 0.9995))
    moved = abs(near - low), abs(beyond - high)
    return Finding(
        f"A momentum of 0.9005 in place of 0.9 moves the dev loss by {moved[0]:.4f}, from {low:.4f} to {near:.4f}; "
        f"0.9995 in place of 0.999 by {moved[1]:.4f}, from {high:.4f} to {beyond:.4f}.",
        moved[1] - moved[0],
    )


def coarse_to_fine(fine: Study, coarse: Study) -> Finding:
    half = len(fine.rows) // 2
    first = median(fine.dev(row) for row in fine.rows if row["trial"] < half)
    second = median(fine.dev(row) for row in fine.rows if row["trial"] >= half)
    return Finding(
        f"The median dev loss is {first:.3f} in the coarse round and {second:.3f} in the fine one. The best of both is "
        f"{fine.said(fine.rows[0])}; as many trials, all of them coarse, find {coarse.said(coarse.rows[0])}.",
        coarse.dev(coarse.rows[0]) - fine.dev(fine.rows[0]),
    )


def l2(trained: Study, stopped: Study) -> Finding:
    best, early = trained.best_at_end(trained.rows), stopped.rows[0]
    epochs = [sum(row["epochs"] for row in study.rows) for study in (trained, stopped)]
    return Finding(
        f"Early stopping has dev accuracy {stopped.said(early)} after {epochs[1]} epochs. Trained to the end, the best "
        f"of {len(trained.rows)} L2 penalties, {best['weight_decay']:g}, has "
        f"{trained.share_said(trained.dev_at_end(best))}, at the price of {epochs[0]} epochs.",
        trained.dev_at_end(best) - stopped.dev(early),
    )


def dropout(variance: Study, bias: Study) -> Finding:
    said, gains = [], []
    for case, study in (("With variance", variance), ("with bias", bias)):
        none, best = study.where(dropout=0.0)[0], next(row for row in study.rows if row["dropout"] > 0.0)
        gains.append(study.dev(best) - study.dev(none))
        said.append(
            f"{case} the best dropout, {best['dropout']:g}, has {study.said(best)} for {study.said(none)} without"
        )
    return Finding(f"Dev accuracy: {'; '.join(said)}.", min(gains[0], -gains[1]))


def init(study: Study) -> Finding:
    said = []
    for kind in ("he", "xavier", "normal", "zero"):
        rows = study.where(init=kind)
        said.append(f"{kind} {study.said(rows[0])}" if rows else f"{kind} none, since all trials diverged")
    he, zero = study.where(init="he")[0], study.where(init="zero")[0]
    return Finding(
        f"Best dev accuracy of six hidden layers by their initial weights: {', '.join(said)}.",
        study.dev(he) - study.dev(zero),
    )


def batch_norm(study: Study) -> Finding:
    enough = study.dev(study.rows[0]) - TOLERATED
    said, works = [], []
    for case, norm in (("with batch norm", "batch"), ("without", "none")):
        rows = study.where(norm=norm)
        rates = sorted(row["learning_rate"] for row in rows if study.dev(row) >= enough)
        works.append(len(rates))
        span = f"{len(rates)} ({rates[0]:g} to {rates[-1]:g})" if rates else "none"
        said.append(f"{case} {span}, with a best dev accuracy of {study.said(rows[0])}")
    return Finding(
        f"Of nine learning rates from 0.0001 to 1 these come within 5 points of the best: {'; '.join(said)}.",
        float(works[0] - works[1]),
    )


def lr_decay(study: Study) -> Finding:
    constant = study.best_at_end(study.where(lr_decay=0.0))
    decayed = study.best_at_end([row for row in study.rows if row["lr_decay"] > 0.0])
    ends = study.dev_at_end(constant), study.dev_at_end(decayed)
    return Finding(
        f"After the last epoch the best constant learning rate, {constant['learning_rate']:g}, has a dev RMSE of "
        f"{ends[0]:.4f}; the best with decay, {decayed['learning_rate']:g} at a decay rate of {decayed['lr_decay']:g}, "
        f"has {ends[1]:.4f}. The noise alone is about {NOISE:g}.",
        ends[0] - ends[1],
    )


def errors(dev: Study, train_dev: Study, synthesis: Study) -> dict[str, float]:
    """After the last epoch, where the first two studies have the same network."""
    last, other = dev.curve(dev.rows[0])[-1], synthesis.curve(synthesis.rows[0])[-1]
    return {
        "train": 1.0 - float(last["train_metric"]),
        "train-dev": 1.0 - train_dev.dev_at_end(train_dev.rows[0]),
        "dev": 1.0 - float(last["dev_metric"]),
        "dev, after synthesis": 1.0 - float(other["dev_metric"]),
    }


def mismatch(dev: Study, train_dev: Study, synthesis: Study) -> Finding:
    train, held_out, aimed_at, after = errors(dev, train_dev, synthesis).values()
    return Finding(
        f"Errors: train {train:.3f}, train-dev {train_dev.share_said(held_out)}, dev {dev.share_said(aimed_at)}. So "
        f"{100 * (held_out - train):.1f} points are variance and {100 * (aimed_at - held_out):.1f} mismatch. Training "
        f"examples made more like dev ones leave dev {dev.share_said(after)}.",
        (aimed_at - held_out) - (held_out - train),
    )
