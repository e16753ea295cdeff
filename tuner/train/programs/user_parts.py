"""Losses, metrics and optimisers of the user's, by import path: loaded, tried once, and called with checks."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tuner.errors import UserCodeError, is_out_of_memory
from tuner.imports import load_object
from tuner.spec.model import SweepSpec
from tuner.spec.values import is_own
from tuner.train.measure.losses import mean_loss
from tuner.train.measure.metrics import Loss, Scores
from tuner.train.measure.number import as_number
from tuner.train.program import Member, Problem, RowState
from tuner.train.programs.plain_trial import PlainTrial
from tuner.train.programs.torch_optimizers import make_optimizer
from tuner.train.settings import Settings

Function = Callable[..., object]


@dataclass(frozen=True, slots=True)
class UserParts:
    """The user's own functions, each None where tuner's own is used, with its name in the sweep file."""

    loss: Function | None = None
    metric: Function | None = None
    optimizer: Function | None = None
    auxiliary: str | None = None
    """An attribute of the module that holds a further loss of its last forward."""
    names: Mapping[str, str] | None = None

    @property
    def trains(self) -> str | None:
        """Why trials cannot be fused, if one of them takes part in a step."""
        if self.loss is not None:
            return "training.loss is a function of yours"
        if self.auxiliary is not None:
            return "training.auxiliary_loss is read from each module"
        return "training.optimizer is a function of yours" if self.optimizer is not None else None

    def mean_loss(self, outputs: Tensor, targets: Tensor, *, loss: Loss) -> Tensor:
        """The mean loss of a batch, the user's own or tuner's."""
        return mean_loss(outputs, targets, loss=loss) if self.loss is None else self.loss_of(outputs, targets)

    def loss_of(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The user's loss, a scalar.

        Raises:
            UserCodeError: it is none.
        """
        assert self.loss is not None
        found = self.loss(outputs, targets)
        if not isinstance(found, Tensor) or found.numel() != 1:
            got = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise UserCodeError(f"{self.name('loss')} returned {got}; a loss must return a tensor of one number")
        return found.reshape(())

    def metric_of(self, outputs: Tensor, targets: Tensor) -> float:
        """The user's metric.

        Raises:
            UserCodeError: it is no number.
        """
        assert self.metric is not None
        found = self.metric(outputs, targets)
        number = as_number(found)
        if number is None:
            kind = type(found).__name__
            raise UserCodeError(f"{self.name('metric')} returned {kind}; a metric must return a number")
        return number

    def new_optimizer(self, module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
        """The optimiser for a plain module, the user's own or tuner's.

        Raises:
            UserCodeError: the user's is none.
        """
        if self.optimizer is None:
            return make_optimizer(module, settings)
        made = self.optimizer([p for p in module.parameters() if p.requires_grad], dict(settings.model))
        if not isinstance(made, torch.optim.Optimizer):
            raise UserCodeError(
                f"{self.name('optimizer')} returned {type(made).__name__}; it must return a torch.optim.Optimizer"
            )
        return made

    def name(self, part: str) -> str:
        return (self.names or {}).get(part, part)


def load_user_parts(spec: SweepSpec) -> UserParts:
    """The functions that a sweep file names.

    Raises:
        UserCodeError: one of them cannot be imported, or is no function.
    """
    named = {
        "loss": spec.training.loss,
        "metric": spec.objective.metric,
        "optimizer": spec.training.optimizer,
    }
    names = {part: name for part, name in named.items() if is_own(name)}
    found: dict[str, Function] = {}
    for part, name in names.items():
        function = load_object(name, root=Path(spec.root))
        if not callable(function):
            raise UserCodeError(f"{name} is no function")
        found[part] = function
    return UserParts(**found, auxiliary=spec.training.auxiliary_loss, names=names)


def try_parts(parts: UserParts, outputs: Tensor, targets: Tensor) -> None:
    """Call the user's loss and metric once, on outputs that a network might give.

    Raises:
        UserCodeError: one of them raises, or returns something else; or the loss gives no gradient.
    """
    for part, call in (("loss", parts.loss and parts.loss_of), ("metric", parts.metric and parts.metric_of)):
        if not callable(call):
            continue
        asked = outputs.clone().requires_grad_(part == "loss")
        try:
            found = call(asked, targets)
        except UserCodeError:
            raise
        except Exception as error:
            shapes = f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)}"
            raise UserCodeError(f"{parts.name(part)} failed for {shapes}: {type(error).__name__}: {error}") from error
        if isinstance(found, Tensor) and not found.requires_grad:
            raise UserCodeError(
                f"{parts.name(part)} gives no gradient: it must be computed from the outputs with PyTorch, undetached"
            )
        if isinstance(found, Tensor) and not math.isfinite(float(found.detach())):
            raise UserCodeError(f"{parts.name(part)} is {float(found.detach())} where all outputs are 0.01")


class UserEvaluation:
    """Scores outputs as `measure.metrics.Evaluation` does, with the user's loss and metric in the place of tuner's."""

    def __init__(self, parts: UserParts, usual: Callable[[Tensor], Scores], targets: Tensor) -> None:
        self._parts = parts
        self._usual = usual
        self._targets = targets

    @torch.no_grad()
    def __call__(self, outputs: Tensor) -> Scores:
        """Score logits or predictions of shape (trials, examples, outputs)."""
        loss, metric = self._usual(outputs)
        z, y, parts = outputs.detach().float(), self._targets.to(outputs.device), self._parts
        if parts.loss is not None:
            loss = np.array([float(parts.loss_of(row, y)) for row in z])
        if parts.metric is not None:
            metric = np.array([parts.metric_of(row, y) for row in z])
        return Scores(loss, np.where(np.isnan(loss), np.nan, metric))


def auxiliary_loss(module: nn.Module, name: str) -> Tensor:
    """The further loss that a module has left of its last forward, a scalar.

    Raises:
        UserCodeError: there is none.
    """
    found = getattr(module, name, None)
    if not isinstance(found, Tensor) or found.numel() != 1:
        got = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise UserCodeError(
            f"training.auxiliary_loss: self.{name} is {got} after the forward in training mode; it must be a tensor of "
            "one number"
        )
    return found.reshape(())


class OtherOptimizerError(Exception):
    """A checkpoint is of another optimiser than the user's is now."""


class UserTrial(PlainTrial):
    """The plain loop around one trial, with a loss or an optimiser of the user's."""

    def __init__(self, member: Member, problem: Problem, *, parts: UserParts) -> None:
        self._parts = parts
        if parts.optimizer is not None:
            self.state_format = "optimizer of the user's"
        super().__init__(member, problem)

    def _new_optimizer(self, module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
        made = self._parts.new_optimizer(module, settings)
        for group in made.param_groups if self._parts.optimizer is not None else ():
            group["tuner_first_rate"] = float(group["lr"]) if "lr" in group else None
        return made

    def _mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss, name = self._parts.mean_loss(outputs, targets, loss=self.problem.loss), self._parts.auxiliary
        return loss if name is None else loss + auxiliary_loss(self.module, name)

    def _forget_gradients(self) -> None:
        self.optimizer.zero_grad()

    def _set_rate(self, rate: float) -> None:
        """Each group's own rate, times what the schedule makes of the trial's learning rate."""
        if self._parts.optimizer is None:
            super()._set_rate(rate)
            return
        share = rate / self.member.settings.learning_rate
        for group in self.optimizer.param_groups:
            if group["tuner_first_rate"] is not None:
                group["lr"] = group["tuner_first_rate"] * share

    def _optimizer_state(self) -> RowState:
        if self._parts.optimizer is None:
            return super()._optimizer_state()
        file = io.BytesIO()
        torch.save(_on_host(self.optimizer.state_dict()), file)
        text = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
        return {f"whole.{len(text)}": text}  # as long as it happens to be: no shape that must fit

    def _load_optimizer(self, state: Mapping[str, Tensor]) -> None:
        if self._parts.optimizer is None:
            super()._load_optimizer(state)
            return
        (whole,) = state.values()
        text = whole.cpu().numpy().tobytes()
        # Earlier versions kept tensors where they were; whatever comes is brought to where the parameters are.
        kept = torch.load(io.BytesIO(text), weights_only=True, map_location="cpu")
        try:
            self.optimizer.load_state_dict(kept)
        except Exception as error:  # it may be of a class of the user's
            if is_out_of_memory(error):
                raise
            raise OtherOptimizerError(str(error) or type(error).__name__) from error


def _on_host(value: object) -> object:
    """A copy of an optimiser's state whose tensors lie on the CPU, so that any machine can read it."""
    match value:
        case Tensor():
            return value.detach().cpu()
        case dict():
            return {key: _on_host(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)([_on_host(item) for item in value])
    return value
