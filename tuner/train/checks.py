"""Checks of a network before a sweep: what should be true of any that can learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tuner.data.dataset import Split
from tuner.records import TrialJob
from tuner.train.losses import mean_loss
from tuner.train.program import Member
from tuner.train.task import Task

GRADIENT_STEP = 1e-6
SMOOTH_ERROR = 1e-6
"""Relative error of a gradient in float64 below which it is right beyond doubt."""
WRONG_ERROR = 1e-3
"""Above which it is wrong, unless a kink (ReLU) lies within the step."""
MAX_CHECKED = 20
OVERFIT_STEPS = 200


@dataclass(frozen=True, slots=True)
class Check:
    """One check's verdict."""

    name: str
    passed: bool
    finding: str
    """What was measured."""
    advice: str = ""
    """What to do if it did not pass."""


def run_checks(task: Task, job: TrialJob, *, gradients: bool) -> list[Check]:
    """All checks of one trial's network, dropout off.

    Args:
        task: The sweep's task.
        job: The configuration to check, usually the default one; it is not trained.
        gradients: Compare every parameter's gradient with a numerical one.
    """
    member = task.member(job)
    size = min(member.settings.batch_size, len(task.data.train), 64)
    batch = Split(task.data.train.inputs[:size], task.data.train.targets[:size])
    module = member.make_module().to(task.device)
    found = [check_outputs(task, module, batch)]
    if not found[0].passed:
        return found
    found.append(_tried("initial loss", lambda: check_initial_loss(task, module, batch)))
    found.append(_tried("scale per layer", lambda: check_scales(task, module, batch)))
    if gradients:
        found.append(_tried("gradients", lambda: check_gradients(task, member, batch)))
    found.append(_tried("overfits one batch", lambda: check_overfits(task, member, batch)))
    return found


def _tried(name: str, check: Callable[[], Check]) -> Check:
    """A check's verdict; a user's module may raise anything, in its backward pass too."""
    try:
        return check()
    except Exception as error:
        advice = "mend the module's forward; gradients are checked in float64, so make tensors in the inputs' dtype"
        return Check(name, False, f"{type(error).__name__}: {error}", advice)


def check_outputs(task: Task, module: nn.Module, batch: Split) -> Check:
    """The network takes a batch and gives one output for each class or target."""
    expected = (len(batch), task.info.num_outputs)
    try:
        with torch.no_grad():
            shape = tuple(module.eval()(batch.inputs).shape)
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


def check_initial_loss(task: Task, module: nn.Module, batch: Split) -> Check:
    """A fresh network should be about as wrong as a guess: log(classes), or the variance of the targets."""
    with torch.no_grad():
        loss = float(mean_loss(module.eval()(batch.inputs), batch.targets, loss=task.loss))
    match task.loss:
        case "cross_entropy":
            guess = math.log(task.info.num_outputs)
        case "binary_cross_entropy":
            guess = math.log(2)
        case _:
            guess = float(batch.targets.square().mean())
    return Check(
        "initial loss", loss < 3 * guess + 0.5, f"{loss:.3f}; a guess has {guess:.3f}",
        "initial outputs are too large: smaller initial weights, or a norm before the output layer",
    )  # fmt: skip


def check_scales(task: Task, module: nn.Module, batch: Split) -> Check:
    """Activations keep their scale from layer to layer, and no layer's gradient vanishes or explodes."""
    spreads: list[tuple[str, float]] = []
    handles = [
        layer.register_forward_hook(
            lambda _m, _i, output, name=name: spreads.append((name, float(output.detach().float().std())))
        )
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    ]
    module.zero_grad()
    mean_loss(module.train()(batch.inputs), batch.targets, loss=task.loss).backward()  # type: ignore[no-untyped-call]
    for handle in handles:
        handle.remove()
    norms = {n: float(p.grad.norm()) for n, p in module.named_parameters() if p.grad is not None and p.dim() > 1}
    module.zero_grad()
    smallest = min(norms.values(), default=1.0)
    largest = max(norms.values(), default=1.0)
    healthy = all(1e-3 < s < 1e3 for _, s in spreads) and smallest > 1e-8 and largest < 1e3
    shown = ", ".join(f"{name or 'module'} {spread:.2g}" for name, spread in spreads)
    return Check(
        "scale per layer", healthy, f"activations {shown}; gradient norms {smallest:.1e} to {largest:.1e}",
        "use He (ReLU) or Xavier (tanh) initial weights, batch norm, or fewer layers",
    )  # fmt: skip


def check_gradients(task: Task, member: Member, batch: Split) -> Check:
    """Gradients by back-propagation against central differences, in float64, on a sample of each tensor's entries.

    The error of a tensor is |numerical - analytical| / (|numerical| + |analytical|), in L2 norm.
    """
    module = member.make_module().to("cpu").double().eval()
    inputs = batch.inputs.cpu().double()
    targets = batch.targets.cpu()
    targets = targets if targets.dtype == torch.int64 else targets.double()

    def loss() -> Tensor:
        return mean_loss(module(inputs), targets, loss=task.loss)

    loss().backward()  # type: ignore[no-untyped-call]
    draw = torch.Generator().manual_seed(0)
    errors: dict[str, float] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        # No gradient at all says that the loss does not depend on it, which the numerical one proves or refutes.
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        chosen = torch.randperm(parameter.numel(), generator=draw)[:MAX_CHECKED]
        numerical = torch.stack([_difference(loss, parameter, int(i)) for i in chosen])
        analytical = gradient.flatten()[chosen]
        size = float(numerical.norm() + analytical.norm())
        errors[name] = float((numerical - analytical).norm()) / size if size > 1e-12 else 0.0
    worst = max(errors, key=lambda n: errors[n])
    return Check(
        "gradients", errors[worst] < WRONG_ERROR,
        f"worst relative error {errors[worst]:.1e} ({worst}), in float64 over {len(errors)} tensors"
        + ("" if errors[worst] < SMOOTH_ERROR else "; a kink such as ReLU's can cause up to 1e-3"),
        f"the gradient of {worst} is not that of its loss: look for detach(), in-place changes, or a custom backward",
    )  # fmt: skip


@torch.no_grad()
def _difference(loss: object, parameter: nn.Parameter, index: int) -> Tensor:
    entries = parameter.view(-1)
    before = entries[index].clone()
    values = []
    for sign in (1.0, -1.0):
        entries[index] = before + sign * GRADIENT_STEP
        values.append(loss())  # type: ignore[operator]
    entries[index] = before
    difference: Tensor = (values[0] - values[1]) / (2 * GRADIENT_STEP)
    return difference


def check_overfits(task: Task, member: Member, batch: Split) -> Check:
    """A network that can learn at all can learn sixteen examples by heart, a linear one fewer."""
    module = member.make_module().to(task.device).eval()
    is_linear = member.network is not None and not member.network.hidden_widths
    count = max(2, min(16, batch.inputs[0].numel() // 2)) if is_linear else 16
    inputs, targets = batch.inputs[:count], batch.targets[:count]
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(OVERFIT_STEPS):
        optimizer.zero_grad()
        loss = mean_loss(module(inputs), targets, loss=task.loss)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return Check(
        "overfits one batch", losses[-1] < 0.1 * losses[0] or losses[-1] < 0.05,
        f"loss {losses[0]:.3f} to {losses[-1]:.4f} in {OVERFIT_STEPS} steps of Adam on {count} examples, dropout off",
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
