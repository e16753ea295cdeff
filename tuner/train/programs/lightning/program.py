"""The way to train LightningModules: see `train.programs.lightning.fit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tuner.data.dataset import Split
from tuner.models.layers.layer import is_weight
from tuner.train.program import EpochPlan, Member, Problem, RowState, copied_chunks
from tuner.train.programs.lightning.fit import Fit
from tuner.train.way import Way


class LightningProgram:
    """See `train.program.Program`. Each trial has a module and a Trainer of its own."""

    whole_epochs = True

    def __init__(self, members: Sequence[Member], problem: Problem, *, dev: Split) -> None:
        self.problem = problem
        self.dev = dev
        self._fits = [Fit(member, problem, dev=dev) for member in members]

    def path(self, row: int) -> Way:
        return Way.LIGHTNING

    def reason(self, row: int) -> str | None:
        return "Lightning's Trainer trains it"

    def state_format(self, row: int) -> str:
        return "lightning"

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        assert (first, last) == (0, len(plan.step_SK)), "a Trainer trains whole epochs"
        for row, fit in enumerate(self._fits):
            fit.epoch(plan.row(row))

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        found, num_outputs = [], self.problem.num_outputs
        for fit in self._fits:
            with _evaluating(fit.module.to(self.problem.device)) as module:
                chunks = [module(chunk).float().view(len(chunk), num_outputs) for chunk in copied_chunks(inputs)]
            found.append(torch.cat(chunks))
        return torch.stack(found)

    def state(self, row: int, *, lent: bool = False) -> RowState:
        fit = self._fits[row]
        weights = {f"module.{name}": t.detach().cpu().clone() for name, t in fit.module.state_dict().items()}
        best = {f"best.{name}": t.clone() for name, t in fit.best.items()}
        text = fit.lightning_state()
        if not text:
            return weights | best
        # As long as it happens to be: no shape that must fit.
        return weights | best | {f"lightning.{len(text)}": torch.frombuffer(bytearray(text), dtype=torch.uint8)}

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}

        fit = self._fits[row]
        fit.module.load_state_dict(part("module."))
        fit.best = part("best.")
        for text in part("lightning.").values():
            fit.load_lightning_state(text.cpu().numpy().tobytes())

    def unsaved(self, row: int) -> str | None:
        return None

    def save_best(self, rows: Sequence[int]) -> None:
        for row in rows:
            self._fits[row].keep_best()

    def best_weights(self, row: int) -> RowState:
        return dict(self._fits[row].best)

    def learns(self, row: int) -> bool:
        """Whether the last step had a gradient for any parameter of a trial."""
        return any(bool(norm) for norm in self._fits[row].gradient_norms.values())

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> LightningProgram:
        for row in set(range(len(self._fits))) - set(keep):
            self._fits[row].close()
        program = LightningProgram(joining, self.problem, dev=self.dev)
        program._fits = [*(self._fits[row] for row in keep), *program._fits]
        return program

    def gradient_norms(self) -> dict[str, Tensor]:
        found = [fit.gradient_norms for fit in self._fits]
        weights = [name for name, p in self._fits[0].module.named_parameters() if is_weight(p.shape)]
        return {
            name: torch.stack([norms.get(name, torch.zeros(())) for norms in found])
            for name in weights
            if any(name in norms for norms in found)
        }

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """The module in evaluation mode; behind the block each part is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield module
    finally:
        for part, mode in modes:
            part.training = mode
