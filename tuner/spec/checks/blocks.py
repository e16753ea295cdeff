"""What must hold of the blocks beside `space:` beyond the types of their values."""

from __future__ import annotations

import math

from tuner.spec.blocks.training import EarlyStoppingSpec
from tuner.spec.checks.choices import check_value
from tuner.spec.checks.loop import check_metric
from tuner.spec.checks.places import check_local
from tuner.spec.checks.range import HIGHEST_LEARNING_RATE
from tuner.spec.defaults import UNDECAYED, searched_optimizers
from tuner.spec.known.hyperparameters import HYPERPARAMETERS, hyperparameters_of, is_builtin
from tuner.spec.known.metrics import METRICS, SHARES
from tuner.spec.known.names import did_you_mean, nearest
from tuner.spec.known.networks import MODELS
from tuner.spec.model import SplitSpec, SweepSpec
from tuner.spec.objectives import direction_of
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath
from tuner.spec.text.translate import REQUIRED
from tuner.spec.values import is_own

METRICS_OF_TASK = {
    task: sorted(name for name, metric in METRICS.items() if task in metric.tasks and name != "loss")
    for task in METRICS["loss"].tasks
}
"""Beside `loss`, which is one of every task."""
_LOSS_OF_TASK = {"classification": "cross_entropy", "multi_label": "binary_cross_entropy", "regression": "mse"}
_LARGE_BATCH = 10_000


def _check_own_module(spec: SweepSpec, findings: Findings) -> None:
    """Check that what is for modules of the user's is said of one."""
    asked = {("data", "inputs"): spec.data.inputs, ("model", "outputs"): spec.model.outputs,
             ("training", "auxiliary_loss"): spec.training.auxiliary_loss}  # fmt: skip
    if spec.model.kind in MODELS or spec.loop is not None:
        what = f"the built-in model {spec.model.kind}" if spec.loop is None else f"a {spec.loop} of yours"
        for path, value in asked.items():
            if value is not None:
                rule = f"is for modules of your own, and has no effect on {what}"
                findings.error(path, rule, remedy="remove it", got="", at_key=True)


def check_data(spec: SweepSpec, findings: Findings) -> None:
    """Check that there is data, the split, and that folds and dev examples do not contradict each other."""
    if not spec.has_data and spec.loop is None:
        findings.error(("data",), "is required", remedy=REQUIRED[("data",)], got="")
    for name in ("source", "dev", "test"):
        check_local(("data", name), getattr(spec.data, name), findings)
    if spec.data.folds is not None and spec.data.dev is not None:
        rule = "cannot be combined with dev: a fold's dev examples are taken from the training examples"
        remedy = "remove folds where these dev examples are what the networks are for, else dev"
        findings.error(("data", "folds"), rule, remedy=remedy, got="", at_key=True)
    folds = spec.data.cross_validation
    if folds is not None and folds.repeats > 1 and spec.data.order is not None:
        rule = "has no effect with order: examples in time are shared out in one way"
        findings.error(("data", "folds", "repeats"), rule, remedy="remove it", got="", at_key=True)
    for name in ("folds", "dev", "test"):
        if spec.data.stream and getattr(spec.data, name) is not None:
            remedy = f"remove {name}, or stream"
            findings.error(("data", "stream"), f"cannot be combined with {name}", remedy=remedy, got="", at_key=True)
    for name in ("categorical", "numeric", "dates", "report_by"):
        if spec.data.stream and getattr(spec.data, name) not in ([], "refuse"):
            remedy = f"remove {name}, or stream"
            findings.error(("data", "stream"), f"cannot be combined with {name}", remedy=remedy, got="", at_key=True)
    if spec.data.stream and spec.data.normalised.inputs == "quantile":
        rule, remedy = "cannot be combined with normalise: quantile", "write normalise: true, or remove stream"
        findings.error(("data", "stream"), rule, remedy=remedy, got="", at_key=True)
    for name in ("folds", "stream"):
        if spec.loop is not None and getattr(spec.data, name):
            rule = f"is not for {spec.loop}, which is handed one train and one dev set"
            findings.error(("data", name), rule, remedy="remove it", got="", at_key=True)
    _check_own_module(spec, findings)
    split = spec.data.split
    if not isinstance(split, SplitSpec) or findings.is_unusable(("data", "split")):
        return
    total = split.train + split.dev + split.test
    if not math.isclose(total, 1, abs_tol=1e-6):
        rest = 1 - split.train - split.dev
        remedy = f"write test: {rest:.6g}" if rest > 1e-6 else ""
        findings.error(("data", "split"), f"must add up to 1, got {total:g}", remedy=remedy, got="", at_key=True)
    if spec.data.dev and spec.data.test:
        rule = "has no effect: the dev and test examples come from files of their own"
        findings.warn(("data", "split"), rule, remedy="remove it", at_key=True)


def check_model(spec: SweepSpec, findings: Findings) -> None:
    """Check that the model exists, as far as that can be said without importing it, and its fixed settings."""
    path: KeyPath = ("model", "kind")
    kind = spec.model.kind
    if findings.is_unusable(path) or spec.loop is not None:
        return
    if spec.model.choices:
        _check_choices(spec, findings)
    elif not is_builtin(kind):
        if ":" not in kind or not all(kind.rpartition(":")[::2]):
            rule = f"must be {', '.join(MODELS)} or a factory of yours, package.module:factory or file.py:factory"
            findings.refuse(path, rule, remedy=did_you_mean(kind, MODELS))
        return
    own = {h.name: h for one in spec.model.kinds for h in hyperparameters_of(one) if h.of_model}
    kind = " or ".join(spec.model.kinds)
    for name, value in spec.model.settings.items():
        at: KeyPath = ("model", "settings", name)
        if name in own:
            check_value(at, value, own[name], findings)
        elif name in HYPERPARAMETERS and not HYPERPARAMETERS[name].of_model:
            findings.error(at, f"is no setting of {kind}", remedy=f"write `{name}:` under `training:`", at_key=True)
        elif near := nearest(name, own):
            findings.error(at, f"is no setting of {kind}", remedy=f'Did you mean "{near}"?', at_key=True)
        else:
            findings.error(at, f"is no setting of {kind}", remedy=f"known settings: {', '.join(own)}", at_key=True)


def _check_choices(spec: SweepSpec, findings: Findings) -> None:
    """Models that are searched among are built in, and nothing is said of one network's parameters."""
    for index, kind in enumerate(spec.model.choices):
        at: KeyPath = ("model", "choices", index)
        if not is_builtin(kind):
            rule = f"must be {', '.join(MODELS)}, the built-in models"
            remedy = did_you_mean(kind, MODELS) or "let a factory of yours read a hyperparameter of its own"
            findings.refuse(at, rule, remedy=remedy)
        elif kind in spec.model.choices[:index]:
            findings.error(at, "is among the choices already", remedy="remove it")
    if not is_builtin(spec.model.kind) and spec.model.kind not in spec.model.choices:
        findings.refuse(("model", "kind"), "must be a built-in model beside choices", remedy="remove it")
    if len(spec.model.kinds) == 1:
        rule = "has only one value"
        findings.warn(("model", "choices"), rule, remedy=f"write `model: {spec.model.kind}`", at_key=True)
    for path, is_given in (
        (("model", "init_from"), spec.model.init_from),
        (("training", "freeze"), spec.training.freeze),
    ):
        if is_given:
            rule = "is for the parameters of one network, and model.choices has several"
            findings.error(path, rule, remedy="remove it, or name one model", got="", at_key=True)


def check_transfer(spec: SweepSpec, findings: Findings) -> None:
    """Warn of what has no effect without weights to start from, or without epochs to thaw in."""
    if spec.model.new_layers and spec.model.init_from is None:
        rule = "has no effect without model.init_from"
        findings.warn(("model", "new_layers"), rule, remedy="remove it, or name a file of weights", at_key=True)
    every, epochs = spec.training.fixed.get("unfreeze_every_epochs"), spec.training.epochs
    check_local(("model", "init_from"), spec.model.init_from, findings)
    if isinstance(every, int) and every >= epochs:
        rule = f"never thaws a layer in {epochs} epochs"
        findings.warn(("training", "unfreeze_every_epochs"), rule, remedy="write a smaller number")


def check_objective(spec: SweepSpec, findings: Findings) -> None:
    """Check that metric, task and loss belong together, and the units of the target error."""
    if not check_metric(spec, findings):
        return
    metric, task, loss = spec.objective.metric, spec.data.task, spec.training.loss
    if task != "auto" and metric not in ("auto", "loss", *METRICS_OF_TASK[task]):
        remedy = f"use {', '.join(METRICS_OF_TASK[task])} or loss, or change data.task"
        findings.error(("objective", "metric"), f"cannot be measured for {task}", remedy=remedy)
    if loss not in ("auto", _LOSS_OF_TASK.get(task, loss)):
        rule, remedy = f"does not fit {task}", f"use {_LOSS_OF_TASK[task]}, or change data.task"
        findings.error(("training", "loss"), rule, remedy=remedy)
    if spec.training.class_weights is not None and task in ("multi_label", "regression"):
        rule, remedy = f"does not fit {task}", "remove it, or change data.task"
        findings.error(("training", "class_weights"), rule, remedy=remedy, got="", at_key=True)
    error = spec.objective.target_error
    if metric in SHARES and error is not None and error >= 1:
        findings.error(
            ("objective", "target_error"),
            "must be less than 1, an error of everything",
            remedy=f"write {error / 100:g} for {error:g} %",
        )


def _check_own_loss(spec: SweepSpec, findings: Findings) -> None:
    """What changes the targets would hand an own loss others than those of the data."""
    for name in ("class_weights", "label_smoothing", "mixup"):
        if getattr(spec.training, name) or name in (spec.space or {}):
            rule = f"cannot be a function of yours together with {name}, which changes the targets"
            findings.error(("training", "loss"), rule, remedy=f"remove {name}, and do it in your loss")


def check_training(spec: SweepSpec, findings: Findings) -> None:
    """Check fixed values against each other, and for suspicious units."""
    training = spec.training
    if is_own(training.loss):
        _check_own_loss(spec, findings)
    _warn_ignored(spec, findings)
    fixed = training.fixed
    for name in training.model_fields_set & fixed.keys():
        if not is_own(str(fixed[name])):
            check_value(("training", name), fixed[name], HYPERPARAMETERS[name], findings)
    decay = float(fixed.get("lr_decay", 0))
    if decay and not findings.is_unusable(("training", "schedule")):
        if training.schedule in UNDECAYED:
            rule = f"has no effect with schedule {training.schedule}"
            findings.warn(("training", "lr_decay"), rule, remedy="remove it, or use another schedule", at_key=True)
        elif training.schedule != "inverse_time" and decay > 1:
            findings.error(("training", "lr_decay"), f"must be at most 1 with schedule {training.schedule}")
    if float(fixed.get("warmup_epochs", 0)) > training.epochs:
        findings.error(("training", "warmup_epochs"), f"must be at most training.epochs ({training.epochs})")
    if float(fixed.get("learning_rate", 0)) > HIGHEST_LEARNING_RATE and spec.loop is None:
        rule = "is a learning rate that hardly any network survives"
        findings.warn(("training", "learning_rate"), rule, remedy="write 1 or less")
    batch_size = fixed.get("batch_size")
    if isinstance(batch_size, int) and batch_size > _LARGE_BATCH and spec.loop is None:
        rule = "is a very large mini-batch"
        findings.warn(("training", "batch_size"), rule, remedy="write `full` for all of the training set")
    kinds = [name for name in training.model_fields_set if name.startswith("augment_")]
    if kinds and not fixed.get("augment") and "augment" not in (spec.space or {}):
        rule = "has no effect: augment, the strength of all kinds, is 0"
        findings.warn(("training", kinds[0]), rule, remedy="add augment: 0.5, or search it", at_key=True)
    if training.fixed["l1_step"] == "proximal" and not fixed.get("l1") and "l1" not in (spec.space or {}):
        findings.warn(("training", "l1_step"), "has no effect: l1 is 0", remedy="add l1, or search it", at_key=True)
    if "averaging" not in (spec.space or {}):
        for name, kind in (("ema_decay", "ema"), ("swa_start", "swa")):
            if name in fixed and fixed["averaging"] != kind:
                rule = f"has no effect with averaging {fixed['averaging']}"
                findings.warn(("training", name), rule, remedy=f"add averaging: {kind}, or remove it", at_key=True)
    _check_early_stopping(spec, findings)


def _warn_ignored(spec: SweepSpec, findings: Findings) -> None:
    if findings.is_unusable(("training", "optimizer"), ("space", "optimizer")):
        return
    optimizers = searched_optimizers(spec)
    for name in spec.training.model_fields_set if spec.loop is None and not is_own(optimizers[0]) else ():
        known, value = HYPERPARAMETERS.get(name), getattr(spec.training, name)
        is_asked = bool(value) or (value is False and known is not None and known.default is not False)
        if known and is_asked and known.optimizers.isdisjoint(optimizers):
            rule = f"has no effect with optimizer {' or '.join(optimizers)}"
            findings.warn(("training", name), rule, remedy="remove it", at_key=True)
    fixed = spec.training.fixed
    has_momentum = fixed.get("momentum") != 0 or "momentum" in (spec.space or {})
    for name in ("nesterov", "dampening", "bias_correction") if optimizers == ("sgd",) and spec.loop is None else ():
        if fixed.get(name) not in (None, "auto", False, 0.0) and not has_momentum:
            findings.warn(("training", name), "has no effect: momentum is 0", remedy="remove it", at_key=True)


def _check_early_stopping(spec: SweepSpec, findings: Findings) -> None:
    stopping = spec.training.early_stopping
    if stopping is None:
        return
    path: KeyPath = ("training", "early_stopping")
    if stopping.patience >= spec.training.epochs:
        rule = f"never stops a trial of {spec.training.epochs} epochs"
        findings.warn((*path, "patience"), rule, remedy="write a smaller number")
    _check_mode(spec, stopping, findings)
    if spec.objective.metric in SHARES and stopping.monitor == "metric" and stopping.min_delta >= 1:
        findings.error(
            (*path, "min_delta"),
            f"must be less than 1 in units of {spec.objective.metric}",
            remedy=f"write {stopping.min_delta / 100:g} for {stopping.min_delta:g} %",
        )


def _check_mode(spec: SweepSpec, stopping: EarlyStoppingSpec, findings: Findings) -> None:
    """Which way is better is known of what is monitored: the other way would stop what still improves."""
    metric, path = spec.objective.metric, ("training", "early_stopping", "mode")
    if stopping.mode == "auto":
        return
    if stopping.monitor != "metric":
        if stopping.mode == "max":
            findings.error(path, f"must be min: less {stopping.monitor} is better", remedy="write min, or remove it")
    elif metric == "auto":
        rule = "needs to know the metric, and objective.metric is auto"
        findings.error(path, rule, remedy="remove it, or write objective.metric")
    else:
        direction = spec.objective.direction or direction_of(metric)
        if not direction.startswith(stopping.mode):
            other = "min" if stopping.mode == "max" else "max"
            findings.error(path, f"must be {other}: {metric} is better that way", remedy=f"write {other}, or remove it")
