"""Hypothesis strategies: search spaces, and sweep files that are right."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from tuner.spec.known.hyperparameters import HYPERPARAMETERS, hyperparameters_of
from tuner.spec.known.knowledge import Hyperparameter
from tuner.spec.space import Dimension, Scale


@st.composite
def float_dimensions(draw: st.DrawFn, *, name: str = "x") -> Dimension:
    """A range of floats on any scale, with or without a step."""
    scales: tuple[Scale, ...] = ("linear", "log", "log1m")
    scale = draw(st.sampled_from(scales))
    ends = {
        "linear": st.floats(-1e6, 1e6),
        "log": st.floats(-8, 6).map(lambda e: 10.0**e),
        "log1m": st.floats(0, 4).map(lambda e: 1 - 10.0**-e),
    }[scale]
    low, high = sorted((draw(ends), draw(ends)))
    step = None
    if low < high and draw(st.booleans()):
        step = (high - low) / draw(st.floats(1, 50))
    return Dimension(name=name, kind="float", tier=1, default=low, low=low, high=high, scale=scale, step=step)


@st.composite
def int_dimensions(draw: st.DrawFn, *, name: str = "n") -> Dimension:
    """A range of integers, linear or logarithmic, with or without a step."""
    scales: tuple[Scale, ...] = ("linear", "log")
    scale = draw(st.sampled_from(scales))
    low = draw(st.integers(1 if scale == "log" else -1000, 1000))
    high = low + draw(st.integers(0, 5000))
    step = draw(st.none() | st.integers(1, max(1, high - low)))
    return Dimension(
        name=name, kind="int", tier=1, default=low, low=float(low), high=float(high), scale=scale, step=step
    )


@st.composite
def categorical_dimensions(draw: st.DrawFn, *, name: str = "c") -> Dimension:
    """Choices of one type."""
    values = st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=3)
    one_type = st.sampled_from([bool, int, float, str])
    kind = draw(one_type)
    choices = draw(st.lists(values.filter(lambda v: type(v) is kind), min_size=1, max_size=5, unique=True))
    return Dimension(name=name, kind="categorical", tier=1, default=choices[0], choices=tuple(choices))


def dimensions() -> st.SearchStrategy[Dimension]:
    """Any dimension."""
    return st.one_of(float_dimensions(), int_dimensions(), categorical_dimensions())


def _known_numbers(known: Hyperparameter) -> st.SearchStrategy[float]:
    bounds = known.bounds
    assert bounds is not None
    if known.kind == "int":
        return st.integers(max(1, int(bounds.low)), int(min(bounds.high, 5000)))
    high = 0.99 if bounds.high == 1 else 9.0
    return st.floats(-6, math.log10(high)).map(lambda e: float(f"{10.0**e:.3g}"))


@st.composite
def _known_parts(draw: st.DrawFn, known: Hyperparameter) -> dict[str, Any]:
    """A dimension of a known hyperparameter as the file has it."""
    part: dict[str, Any] = {}
    if known.kind == "categorical":
        if draw(st.booleans()):
            part["choices"] = draw(st.lists(st.sampled_from(known.allowed), min_size=1, unique=True))
    elif known.name != "kernel_size":
        numbers = _known_numbers(known)
        if draw(st.booleans()):
            part["choices"] = draw(st.lists(numbers, min_size=1, max_size=4, unique=True))
        elif draw(st.booleans()):
            low, high = sorted(draw(st.tuples(numbers, numbers)))
            part |= {"low": low, "high": high}
            if draw(st.booleans()):
                part["log"] = True
    if draw(st.booleans()):
        part["tier"] = draw(st.sampled_from([1, 2, 3, "regularisation"]))
    return part


@st.composite
def sweep_values(draw: st.DrawFn) -> dict[str, Any]:
    """The values of a sweep file without an error."""
    optimizer = draw(st.sampled_from(["sgd", "rmsprop", "adam", "adamw", "amsgrad", "nadam", "lion"]))
    model = draw(st.sampled_from(["mlp", "cnn", "net.py:build"]))
    usable = [h for h in hyperparameters_of(model) if optimizer in h.optimizers and h.name != "optimizer"]
    searched = draw(st.lists(st.sampled_from(usable), unique_by=lambda h: h.name, min_size=1, max_size=6))
    values: dict[str, Any] = {
        "study": draw(st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,20}", fullmatch=True)),
        "data": {
            "source": draw(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)),
            "seed": draw(st.integers(-(10**9), 10**9)),
        },
        "model": {"kind": model},
        "training": {"optimizer": optimizer, "epochs": draw(st.integers(5, 1000))},
        "search": {"trials": draw(st.integers(1, 10**6)), "strategy": draw(st.sampled_from(["tpe", "qmc"]))},
        "space": {h.name: draw(_known_parts(h)) for h in searched},
    }
    names = [h.name for h in searched]
    if "batch_size" not in names and draw(st.booleans()):
        values["training"]["batch_size"] = draw(st.integers(1, 9999) | st.just("full"))
    if "weight_decay" not in names and draw(st.booleans()):
        values["training"]["weight_decay"] = draw(st.floats(0, 1))
    if model != "net.py:build" and "activation" not in names and draw(st.booleans()):
        values["model"]["activation"] = draw(st.sampled_from(HYPERPARAMETERS["activation"].allowed))
    if model == "net.py:build" and draw(st.booleans()):
        low = draw(st.floats(-100, 100))
        values["space"]["own_thing"] = {"low": low, "high": low + draw(st.floats(0, 100)), "tier": 2}
        values["model"]["text"] = draw(st.text(st.characters(codec="utf-8", exclude_categories=["C"])))
    if draw(st.booleans()):
        values["data"]["split"] = {"train": 0.5, "dev": 0.25, "test": 0.25}
    if draw(st.booleans()):
        values["finalists"] = {"count": draw(st.integers(1, 9)), "seeds": draw(st.integers(1, 9))}
    return values
