"""The scales of a fresh network by layer, for the initial weights that it has and for others that are searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tuner.data.dataset import Split
from tuner.models.layers.layer import is_weight
from tuner.records import ParamValue, TrialJob
from tuner.spec.defaults import build_space
from tuner.spec.space import Dimension
from tuner.train.task import Task

_VANISHED = 1e-5
"""A gradient that is so small beside that of another layer has vanished."""
_LARGE = 5.0
"""Standard deviation from which on tanh and sigmoid are flat; normalised inputs through sound weights have about 1."""
_MOST_LISTED = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Scales:
    """What one batch says of a network's layers, from the first to the last; gradients are those of the weights."""

    spreads: Mapping[str, float]
    """Standard deviation of what each layer gives, before its activation."""
    norms: Mapping[str, float]
    variances: Mapping[str, float]
    """Of each gradient's entries."""
    alike: Sequence[str]
    """Layers whose units all have the same incoming weights: they will learn the same."""

    @property
    def explodes(self) -> bool:
        return any(not value < 1e3 for value in (*self.norms.values(), *self.spreads.values()))

    @property
    def vanishes(self) -> bool:
        smallest, largest = min(self.norms.values(), default=1.0), max(self.norms.values(), default=1.0)
        return smallest <= max(1e-8, _VANISHED * largest) or any(s <= 1e-3 for s in self.spreads.values())

    @property
    def verdict(self) -> str:
        return "they explode" if self.explodes else "they vanish" if self.vanishes else "they keep their scale"

    @property
    def fault(self) -> str | None:
        """Why not to begin from these weights."""
        if self.alike:
            return f"symmetric, all units of a layer alike ({', '.join(self.alike)})"
        if self.explodes or max(self.spreads.values(), default=0.0) > _LARGE:
            return "exploding, or saturating what follows"
        return "vanishing" if self.vanishes else None


def measure_scales(task: Task, module: nn.Module, batch: Split) -> Scales:
    """The scales of a network in training mode on a batch; its gradients are gone afterwards."""
    spreads: dict[str, float] = {}
    layers = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)}

    def seen(name: str, output: Tensor) -> None:
        spreads[name or "module"] = float(output.detach().float().std())

    handles = [
        layer.register_forward_hook(lambda _m, _i, output, name=name: seen(name, output))
        for name, layer in layers.items()
    ]
    module.zero_grad()
    task.batch_loss(module.train()(batch.inputs.clone()), batch.targets).backward()  # type: ignore[no-untyped-call]
    for handle in handles:
        handle.remove()
    weights = {n.removesuffix(".weight") or "module": p for n, p in module.named_parameters() if is_weight(p.shape)}
    grads = {name: p.grad for name, p in weights.items() if p.grad is not None}
    found = Scales(
        spreads=spreads,
        norms={name: float(g.norm()) for name, g in grads.items()},
        variances={name: float(g.float().var()) for name, g in grads.items()},
        alike=[n for n, m in layers.items() if len(m.weight) > 1 and bool((m.weight == m.weight[:1]).all())],
    )
    module.zero_grad()
    return found


def scales_of_choices(task: Task, job: TrialJob, batch: Split) -> dict[str, Scales]:
    """The scales for each `init` that is searched; none where there is no choice, or the weights come from a file."""
    searched = next((d for d in build_space(task.spec) if d.name == "init"), None)
    if searched is None or task.spec.model.init_from is not None:
        return {}
    return {str(init): _scales_of(task, job, batch, searched, init) for init in searched.choices}


def _scales_of(task: Task, job: TrialJob, batch: Split, searched: Dimension, init: ParamValue) -> Scales:
    own = replace(job, params={**job.params, searched.name: init})
    torch.manual_seed(job.seed)  # of a module that draws its weights itself
    return measure_scales(task, task.member(own).make_module().to(task.device), batch)


def shown_by_layer(values: Mapping[str, float]) -> str:
    return listed([f"{name}: {value:.2g}" for name, value in values.items()])


def listed(parts: Sequence[str]) -> str:
    """All of a few, the first and last of many."""
    half = _MOST_LISTED // 2
    return ", ".join(parts if len(parts) <= _MOST_LISTED else [*parts[:half], "...", *parts[-half:]])
