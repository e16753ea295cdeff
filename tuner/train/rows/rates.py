"""Learning rates that differ within a network: of parts that are frozen, thawed by and by, or trained more slowly.

Whatever the optimiser did in a step, a parameter goes only its share of the way: none of it while it is frozen. The
optimiser's memory of a layer that is to thaw later is kept up meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tuner.models.layers.layer import Parameter
from tuner.models.transfer import Transfer, hold_norms
from tuner.train.program import EpochPlan, Member
from tuner.train.rows.rows import RowLayout


def epochs_of(plan: EpochPlan) -> list[int]:
    """The epoch, counted from 0, that each trial is in."""
    return [int(step) // len(plan.step_SK) for step in plan.step_SK[0]]


class RowRates:
    """The shares of K trials whose parameters are rows; without any, nothing is done."""

    def __init__(
        self, members: Sequence[Member], layout: RowLayout, names: Mapping[Parameter, str], *, device: torch.device
    ) -> None:
        """Prepare the rows.

        Args:
            members: The trials.
            layout: Of the rows.
            names: Of the parameters in the trials' modules.
            device: Of the rows.
        """
        self.transfers: tuple[Transfer | None, ...] = tuple(m.transfer for m in members)
        self.active = any(self.transfers)
        self._layout, self._names = layout, names
        shape = (len(members), layout.length) if self.active else (0, 0)
        self._share_KP = torch.ones(shape, device=device)
        self._before_KP = torch.zeros(shape, device=device)
        self._trained_KP = torch.ones(shape, device=device)
        if self.active:
            frozen = [transfer.frozen if transfer else frozenset() for transfer in self.transfers]
            self._fill(self._trained_KP, [{n: float(n not in own) for n in names.values()} for own in frozen])
        self._filled: list[Mapping[str, float]] = []
        """What the shares are now."""

    def begin(self, plan: EpochPlan) -> list[Mapping[str, float]]:
        """Set the shares of an epoch; each trial's by name, none where nothing is to be done."""
        if not self.active:
            return []
        found: list[Mapping[str, float]] = [
            transfer.factors(epoch) if transfer else dict.fromkeys(self._names.values(), 1.0)
            for transfer, epoch in zip(self.transfers, epochs_of(plan), strict=True)
        ]
        if found != self._filled:
            self._fill(self._share_KP, found)
            self._filled = found
        return found

    def is_frozen(self, name: str) -> bool:
        """Whether no trial ever trains the parameter of this name."""
        return all(transfer is not None and name in transfer.frozen for transfer in self.transfers)

    @property
    def lowest_trained_layer(self) -> int:
        """The number of the lowest layer that any trial ever trains: nothing below it needs a gradient."""
        return min(parameter.layer for parameter, name in self._names.items() if not self.is_frozen(name))

    def _fill(self, rows_KP: Tensor, values: Sequence[Mapping[str, float]]) -> None:
        """Fill rows by the values of each trial: one copy to the device, and one on it for each parameter."""
        table = torch.tensor([[own[name] for own in values] for name in self._names.values()]).to(rows_KP.device)
        for parameter, value_K in zip(self._names, table, strict=True):
            view = self._layout.view(rows_KP, parameter)
            view.copy_(value_K.view(-1, *[1] * (view.dim() - 1)))

    @contextmanager
    def around(self, p_KP: Tensor, g_KP: Tensor) -> Iterator[None]:
        """An update of the rows within the block goes its shares of the way; exact where a share is 0 or 1.

        What is never trained counts in no norm of the gradient.
        """
        if not self.active:
            yield
            return
        self._before_KP.copy_(p_KP)
        g_KP.mul_(self._trained_KP)
        yield
        torch.lerp(self._before_KP, p_KP, self._share_KP, out=p_KP)


class ModuleRates:
    """The same for one trial's plain module."""

    def __init__(self, transfer: Transfer | None, module: nn.Module) -> None:
        self.transfer = transfer
        self._module = module
        self._shares: Mapping[str, float] = {}
        self._before: dict[str, Tensor] = {}

    def begin(self, epoch: int) -> None:
        """Set the shares of an epoch, counted from 0."""
        if self.transfer is not None:
            self._shares = self.transfer.factors(epoch)
            hold_norms(self._module, self._shares)

    def before(self) -> None:
        if self.transfer is not None:
            self._before = {n: p.detach().clone() for n, p in self._module.named_parameters() if self._shares[n] != 1.0}

    @torch.no_grad()
    def after(self) -> None:
        for name, before in self._before.items():
            parameter = self._module.get_parameter(name)
            parameter.copy_(torch.lerp(before, parameter, self._shares[name]))
