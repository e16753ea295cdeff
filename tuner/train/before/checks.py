"""Checks of a network before a sweep: what should be true of any that can learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tuner.data.dataset import Split
from tuner.errors import is_out_of_memory
from tuner.models.transfer import taken_from_file
from tuner.records import TrialJob
from tuner.spec.values import is_own
from tuner.train.before.gradient_check import TOGETHER, Float64Error, gradient_errors, in_evaluation, without_dropout
from tuner.train.before.scales import Scales, listed, measure_scales, scales_of_choices, shown_by_layer
from tuner.train.program import Member
from tuner.train.task import Task

_SMOOTH_ERROR = 1e-6
"""Relative error of a gradient in float64 below which it is right beyond doubt."""
WRONG_ERROR = 1e-3
"""Above which it is wrong, unless a kink (ReLU) lies within the step."""
GRADIENT_SECONDS = 20.0
"""So long the tensors of a large network are looked at one by one."""
OVERFIT_STEPS = 200
FALLING_STEPS = 20
_FALLING_EXAMPLES = 256
_OVERFIT_EXAMPLES = 16
_FEWEST_EXAMPLES = 4
_MOST_BYTES = 2**21
"""Of examples that steps are repeated on, unless they are the fewest: photographs would take minutes."""
_LEARNT = 0.01
"""Of the first loss: what has come so far is learnt by heart."""
_LOWER_FACTORS = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Shares of the default learning rate at which a cost that rises is tried again."""
_LOW_RATE = 1e-3
"""A rate at which it is tried at last, where all of these are higher."""
_FALLEN = 0.25
"""Of the first cost: it falls, without doubt."""
_ALLOWED_RISE = 5e-3
"""Of the first cost; rounding, kinks and the overshoot of an adaptive optimiser cause less."""
_FEW_TO_NORM_BY = 8
"""The mean and variance of fewer are noise: a last batch of 3 took 20 points from 8 hidden layers, one of 8 none."""
_DRAWS = 5
"""Of the initial weights, where the loss of the first is far off."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check's verdict."""

    name: str
    passed: bool
    finding: str
    """What was measured."""
    advice: str = ""
    """What to do if it did not pass."""


def run_checks(task: Task, job: TrialJob, *, gradients: bool | None) -> list[Check]:
    """All checks of one trial's network, dropout off.

    Args:
        task: The sweep's task.
        job: The configuration to check, usually the default one; it is not trained.
        gradients: Compare gradients with numerical ones; None: if the network or its loss is the user's.
    """
    member = task.member(job)
    size = min(member.settings.batch_size, len(task.data.train), 64)
    batch = Split(task.data.train.inputs[:size], task.data.train.targets[:size])
    module = member.make_module().to(task.device)
    if task.spec.model.init_from is not None:
        found = [_check_pretrained(task, module), check_outputs(task, module, batch)]
    else:
        found = [check_outputs(task, module, batch)]
    if not found[-1].passed:
        return found
    again = (task.member(replace(job, seed=job.seed + n)).make_module().to(task.device) for n in range(1, _DRAWS))
    found.append(_tried("initial loss", lambda: check_initial_loss(task, module, batch, again=again)))
    found.append(_tried("scale per layer", lambda: check_scales(task, module, batch)))
    found += check_initial_weights(scales_of_choices(task, job, batch))
    last = len(task.data.train) % min(member.settings.batch_size, len(task.data.train))
    if last and any(isinstance(layer, _BatchNorm) for layer in module.modules()):
        found.append(_tried("last mini-batch", lambda: check_last_batch(module, batch, last=last)))
    if gradients is None:
        gradients = is_own(task.spec.model.kind) or is_own(task.spec.training.loss)
    if gradients:
        found.append(_tried("gradients", lambda: check_gradients(task, member, batch)))
    count = _count(task, _FALLING_EXAMPLES)
    many = Split(task.data.train.inputs[:count], task.data.train.targets[:count])
    found.append(_tried("cost falls", lambda: check_falls(task, member, many)))
    found.append(_tried("overfits one batch", lambda: check_overfits(task, member, batch)))
    return found


def _count(task: Task, most: int) -> int:
    """How many examples steps are repeated on."""
    example_bytes = 4 * task.data.train.inputs.shape[1:].numel()
    return min(most, max(_FEWEST_EXAMPLES, _MOST_BYTES // example_bytes))


def _tried(name: str, check: Callable[[], Check]) -> Check:
    """A check's verdict; a user's module may raise anything, in its backward pass too."""
    try:
        return check()
    except Exception as error:
        if is_out_of_memory(error):
            raise  # no fault of the module's
        advice = "mend the module's forward; gradients are checked in float64, so make tensors in the inputs' dtype"
        return Check(name, False, f"{type(error).__name__}: {error}", advice)


def check_outputs(task: Task, module: nn.Module, batch: Split) -> Check:
    """The network takes a batch and gives one output for each class or target."""
    expected = (len(batch), task.info.num_outputs)
    try:
        with torch.no_grad():
            shape = tuple(module.eval()(batch.inputs.clone()).shape)
    except Exception as error:  # a user's module may raise anything
        return Check("forward pass", False, f"{type(error).__name__}: {error}", "mend the module's forward")
    if shape == expected and not any(p.requires_grad for p in module.parameters()):
        return Check("forward pass", False, "no parameter requires a gradient", "give the module something to train")
    named = {"classification": "logits for each class", "multi_label": "a logit for each label"}
    what = named.get(task.info.task, "predictions for each target")
    return Check(
        "forward pass", shape == expected, f"outputs of shape {shape} for {len(batch)} examples",
        f"the module must return {what}: shape {expected}",
    )  # fmt: skip


def _check_pretrained(task: Task, module: nn.Module) -> Check:
    """What of `model.init_from` is in the network; what does not fit was refused before."""
    taken = taken_from_file(task.spec, {name: p.shape for name, p in module.named_parameters()})
    frozen = sum(not p.requires_grad for p in module.parameters())
    held = f"; {frozen} are frozen" if frozen else ""
    return Check("pretrained weights", True, f"{taken}{held}")


def check_initial_loss(task: Task, module: nn.Module, batch: Split, *, again: Iterable[nn.Module] = ()) -> Check:
    """A fresh network should be about as wrong as a guess: log(classes), or the variance of the targets.

    Args:
        task: The sweep's task.
        module: The network.
        batch: Examples.
        again: The network with other initial weights, looked at where these are far off: with few outputs by chance.
    """
    loss = _evaluated_loss(task, module, batch)
    if task.parts.loss is not None:
        return Check(
            "initial loss", math.isfinite(loss), f"{loss:.3f}, by a loss of yours", "it must be a finite number"
        )
    match task.problem.loss:
        case "cross_entropy":
            guess = math.log(task.info.num_outputs)
        case "binary_cross_entropy":
            guess = math.log(2)
        case _:
            guess = float(batch.targets.square().mean())
    most, drawn = 3 * guess + 0.5, ""
    others = [] if loss < most else [_evaluated_loss(task, one, batch) for one in again]
    if others:
        first, loss = loss, median([loss, *others])
        drawn = f" in the median of {len(others) + 1} draws of the initial weights ({first:.3f} in the first)"
    return Check(
        "initial loss", loss < most, f"{loss:.3f}{drawn}; a guess has {guess:.3f}",
        "initial outputs are too large: smaller initial weights, or a norm before the output layer",
    )  # fmt: skip


def _evaluated_loss(task: Task, module: nn.Module, batch: Split) -> float:
    with torch.no_grad():
        return float(task.batch_loss(module.eval()(batch.inputs.clone()), batch.targets))


def check_scales(task: Task, module: nn.Module, batch: Split) -> Check:
    """Activations keep their scale from layer to layer, and no layer's gradient vanishes or explodes."""
    found = measure_scales(task, module, batch)
    return Check(
        "scale per layer", not found.explodes and not found.vanishes,
        f"{found.verdict}; activations by layer {shown_by_layer(found.spreads)}; "
        f"gradient norms {shown_by_layer(found.norms)}",
        "use He (ReLU) or Xavier (tanh) initial weights (init: auto), a norm, residual connections, or fewer layers",
    )  # fmt: skip


def check_initial_weights(found: Mapping[str, Scales]) -> list[Check]:
    """Of each `init` that is searched: variances by layer, and whether to avoid it. One at least must be sound."""
    sound = [init for init, scales in found.items() if scales.fault is None]
    return [
        Check(
            f"init {init}", bool(sound),
            f"{f'avoid it, {scales.fault}' if scales.fault else 'sound'}; variance of activations by layer "
            f"{shown_by_layer({name: spread**2 for name, spread in scales.spreads.items()})}; "
            f"of gradients {shown_by_layer(scales.variances)}",
            "none of the choices is sound: add he (ReLU), or xavier or lecun (tanh)",
        )
        for init, scales in found.items()
    ]  # fmt: skip


def check_last_batch(module: nn.Module, batch: Split, *, last: int) -> Check:
    """Batch norm finds enough in the last mini-batch of an epoch, of so many examples, to take mean and variance of."""
    values: list[int] = []
    handles = [
        layer.register_forward_hook(lambda _m, inputs, _o: values.append(inputs[0][:, 0].numel() * last // len(batch)))
        for layer in module.modules()
        if isinstance(layer, _BatchNorm)
    ]
    with torch.no_grad():
        module.train()(batch.inputs.clone())
    for handle in handles:
        handle.remove()
    fewest = min(values, default=last)
    return Check(
        "last mini-batch", fewest >= _FEW_TO_NORM_BY,
        f"{last} examples, so that batch norm takes mean and variance of {fewest} values",
        "its step may undo what the epoch has learnt: choose another batch_size, or norm: layer",
    )  # fmt: skip


def check_gradients(task: Task, member: Member, batch: Split) -> Check:
    """Every parameter group's gradient is that of the loss: see `train.before.gradient_check`."""
    try:
        errors = gradient_errors(member.make_module(), batch, loss=task.batch_loss, seconds=GRADIENT_SECONDS)
    except Float64Error as error:
        return Check("gradients", True, f"not checked, since the forward pass does not run in float64: {error}")
    worst = max(errors, key=lambda n: (errors[n].relative, n != TOGETHER))
    wrong = [name for name, error in errors.items() if error.relative >= WRONG_ERROR]
    alone = {name: error for name, error in errors.items() if name != TOGETHER}
    shown = listed([f"{name} {error.relative:.0e}" for name, error in alone.items() if error.is_seen])
    notes = ["a kink such as ReLU's can cause up to 1e-3"] if errors[worst].relative >= _SMOOTH_ERROR else []
    if unseen := sum(not error.is_seen for error in alone.values()):
        notes.append(f"{unseen} vanish beside the rounding of the loss")
    if rest := sum(p.requires_grad for p in member.make_module().parameters()) - len(alone):
        notes.append(f"{rest} more only together, since {GRADIENT_SECONDS:g} s were over")
    found = f"worst relative error {errors[worst].relative:.1e} ({worst})"
    return Check(
        "gradients", not wrong,
        "; ".join([f"{found}, in float64 over {len(alone)} tensors: {shown}", *notes]),
        f"the gradient of {worst} is not that of its loss: look for detach(), in-place changes, or a custom backward",
    )  # fmt: skip


def check_falls(task: Task, member: Member, batch: Split) -> Check:
    """With all that makes a cost noisy off, each step on the same examples lowers it, as Ng has it checked first.

    Too high a rate makes any cost rise, so that lower ones are tried before the gradient is blamed.
    """
    default = member.settings.learning_rate
    first = _Fall.at(default, task, member, batch)
    rates = [default * factor for factor in _LOWER_FACTORS]
    if rates[-1] > _LOW_RATE:
        rates.append(_LOW_RATE)
    lower = (_Fall.at(rate, task, member, batch) for rate in rates)
    falls = first if first.falls else next((fall for fall in lower if fall.falls), None)
    shown = falls or first
    rose = "" if first.falls else f"; at {default:.3g}, the default, it {first.fault}"
    return Check(
        "cost falls", falls is not None,
        f"{shown.costs[0]:.3f} to {shown.costs[-1]:.3f} in {len(shown.costs) - 1} steps at learning rate "
        f"{shown.rate:.3g} on the same {len(batch)} examples, momentum and dropout off{rose}",
        f"nor does it fall at {rates[-1]:.3g}: the loss or the gradient is wrong, or inputs have "
        "scales far apart",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Fall:
    """The cost before each step of plain gradient descent, and behind the last, which is where it first rises."""

    rate: float
    costs: list[float]

    @classmethod
    def at(cls, rate: float, task: Task, member: Member, batch: Split) -> _Fall:
        return cls(rate, _costs(task, member, batch, learning_rate=rate))

    @property
    def fault(self) -> str | None:
        for number, (before, after) in enumerate(pairwise(self.costs), start=1):
            if _rises(before, after, first=self.costs[0]):
                return f"rose at step {number}"
        return None if self.costs[-1] < self.costs[0] else "did not fall"

    @property
    def falls(self) -> bool:
        return self.fault is None


def _costs(task: Task, member: Member, batch: Split, *, learning_rate: float) -> list[float]:
    settings = replace(member.settings, learning_rate=learning_rate, momentum=0.0, l1=0.0, weight_decay=0.0)
    module = without_dropout(member.make_module().to(task.device))
    optimizer = task.parts.new_optimizer(module, settings)
    costs: list[float] = []
    for _ in range(FALLING_STEPS + 1):
        optimizer.zero_grad()
        cost = task.batch_loss(module(batch.inputs.clone()), batch.targets)
        cost.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        costs.append(float(cost.detach()))
        if len(costs) > 1 and _rises(*costs[-2:], first=costs[0]):
            break
        if costs[-1] < _FALLEN * costs[0]:
            break  # a few examples are soon learnt, and steps then overshoot
    return costs


def _rises(before: float, after: float, *, first: float) -> bool:
    """Whether a cost has risen, or is no number any more."""
    return not after <= before + _ALLOWED_RISE * first


def check_overfits(task: Task, member: Member, batch: Split) -> Check:
    """A network that can learn at all can learn sixteen examples by heart, a linear one fewer; of large ones a few."""
    module = in_evaluation(member.make_module().to(task.device))
    is_linear = member.network is not None and not member.network.hidden_widths
    most = max(2, min(_OVERFIT_EXAMPLES, batch.inputs[0].numel() // 2)) if is_linear else _OVERFIT_EXAMPLES
    count = _count(task, most)
    inputs, targets = batch.inputs[:count], batch.targets[:count]
    # Few weights near zero have far to go, and no layers in which a high rate would do harm.
    rate = 0.1 if is_linear else 0.01
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=rate)
    losses = []
    for _ in range(OVERFIT_STEPS):
        optimizer.zero_grad()
        loss = task.batch_loss(module(inputs.clone()), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
        if losses[-1] < _LEARNT * losses[0]:
            break
    return Check(
        "overfits one batch", losses[-1] < 0.1 * losses[0] or losses[-1] < 0.05,
        f"loss {losses[0]:.3f} to {losses[-1]:.4f} in {len(losses)} steps of Adam on {count} examples, dropout off",
        "the network cannot learn even these: check the labels, the loss, frozen parameters, or its capacity",
    )  # fmt: skip


def baseline(task: Task) -> float:
    """The dev metric of a guess that ignores the inputs: the training set's commonest class or labels, or its mean."""
    targets = task.data.train.targets
    outputs = torch.zeros(1, len(task.data.dev), task.info.num_outputs, device=task.device)
    if task.info.task == "classification":
        outputs[:, :, int(targets.bincount().argmax())] = 1.0
    elif task.info.task == "multi_label":
        outputs += targets.mean(dim=0).clamp(1e-3, 1 - 1e-3).logit()
    else:
        outputs += targets.mean(dim=0)
    return float(task.score_dev(outputs).metric[0])
