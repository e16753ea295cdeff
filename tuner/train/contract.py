"""What a user's model must keep to, looked at once before the first trial: what it returns, reads, and gives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tuner.errors import UserCodeError
from tuner.imports import load_object
from tuner.models.build import build_module
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.hyperparameters import HYPERPARAMETERS
from tuner.spec.model import SweepSpec
from tuner.train.task import Task

log = logging.getLogger(__name__)

SEED = 0
EXAMPLES = 4


class ReadParams(dict[str, Any]):
    """Parameters that remember which of them were read; asked for all at once, all count."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self.read.update(super().keys())
        return super().__iter__()

    def keys(self) -> Any:
        self.read.update(super().keys())
        return super().keys()

    def items(self) -> Any:
        self.read.update(super().keys())
        return super().items()

    def values(self) -> Any:
        self.read.update(super().keys())
        return super().values()


def check_contract(task: Task) -> None:
    """Build the default configuration's module, and try a step on a few examples.

    Raises:
        UserCodeError: it cannot be trained; the message says what is wrong.
    """
    spec, kind = task.spec, task.spec.model.kind
    values = settings_for(spec, build_space(spec).default())
    module = build_module(spec, values, task.info, seed=SEED).to(task.device)
    if not any(p.requires_grad for p in module.parameters()):
        raise UserCodeError(f"{kind} returned a module without a parameter that requires a gradient; nothing can learn")
    inputs, targets = task.data.train.inputs[:EXAMPLES], task.data.train.targets[:EXAMPLES]
    outputs = _outputs(module.eval(), inputs, kind=kind)
    shape, expected = tuple(outputs.shape), (len(inputs), task.info.num_outputs)
    if outputs.numel() != len(inputs) * task.info.num_outputs or shape[:1] != expected[:1]:
        what = "a prediction for each target" if task.info.task == "regression" else "a logit for each class or label"
        given = f"outputs of shape {shape} for {len(inputs)} examples"
        raise UserCodeError(f"{kind} gives {given}; give {what}: {expected}")
    if not outputs.requires_grad:
        raise UserCodeError(
            f"{kind} gives outputs without a gradient, so nothing can learn from a batch; look for detach(), .data, "
            "no_grad() or NumPy in its forward"
        )
    if torch.isfinite(inputs).all() and not torch.isfinite(outputs).all():
        rest = "before any training; look at its initial weights"
        raise UserCodeError(f"{kind} gives outputs that are no finite numbers {rest}")
    task.batch_loss(outputs.float().view(expected), targets).backward()  # type: ignore[no-untyped-call]
    if all(p.grad is None or not p.grad.any() for p in module.parameters()):
        log.warning("%s: no parameter gets a gradient from the first batch, so nothing may learn from it", kind)
    _say_what_is_not_read(spec, values, task)


def _outputs(module: nn.Module, inputs: Tensor, *, kind: str) -> Tensor:
    try:
        outputs = module(inputs)
    except Exception as error:
        shape = tuple(inputs.shape)
        raise UserCodeError(f"{kind} fails for inputs of shape {shape}: {type(error).__name__}: {error}") from error
    if not isinstance(outputs, Tensor):
        raise UserCodeError(f"{kind} gives outputs of type {type(outputs).__name__}; its forward must return a tensor")
    return outputs


def _say_what_is_not_read(spec: SweepSpec, values: dict[str, Any], task: Task) -> None:
    """Searched parameters of the user's own that the factory did not look at change nothing, and waste trials."""
    own = [name for name, part in (spec.space or {}).items() if name not in HYPERPARAMETERS and not part.when]
    if not own:
        return
    factory = load_object(spec.model.kind, root=Path(spec.root))
    assert callable(factory)
    params = ReadParams(values)
    with torch.random.fork_rng(devices=[]):
        factory(params, task.info)
    unread = [name for name in own if name not in params.read]
    if unread:
        log.warning(
            "%s does not read %s for the default configuration; a parameter that nothing reads only wastes trials",
            spec.model.kind, ", ".join(unread),
        )  # fmt: skip
