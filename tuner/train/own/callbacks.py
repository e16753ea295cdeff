"""A callback that reports the epochs of Hugging Face's `Trainer`, or of Lightning's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from tuner.errors import UserCodeError
from tuner.train.measure.number import as_number
from tuner.train.own.reports import ReportError
from tuner.train.own.script import METRIC, report

_BASES = {
    "transformers.trainer": "TrainerCallback",
    "lightning.pytorch": "Callback",
    "pytorch_lightning": "Callback",
}
"""The modules that a script with a trainer has imported, and what they call the class of callbacks."""
_OF_DEV = ("eval_", "val_")
"""What trainers put before the names of what they measure on the dev set."""


def report_callback() -> Any:
    """A callback for Hugging Face's `Trainer` or Lightning's that reports each evaluation on the dev set as an epoch.

    Metrics are reported by the names that the trainer has for them, and without `eval_` and `val_`.

    Raises:
        UserCodeError: neither trainer is imported.
    """
    bases = [getattr(sys.modules[module], name) for module, name in _BASES.items() if module in sys.modules]
    if not bases:
        raise UserCodeError(
            "report_callback is for Hugging Face's Trainer and for Lightning's: import one of them first; in a loop "
            "of your own, call tuner.report"
        )
    return type("ReportCallback", (_Reporting, *bases), {})()


class _Reporting:
    """The hooks of both kinds of trainers; they share the name of one, which takes whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self._is_training = False
        self._seen: dict[str, None] = {}
        """The names of all that was measured."""
        self._has_reported = False

    def _take(self, epoch: int, values: Mapping[str, object], more: Mapping[str, object]) -> None:
        """Report an epoch, if the objective's metric is among its values."""
        measured = {name: value for name, value in values.items() if name != "epoch"}
        numbers = {name: number for name, value in measured.items() if (number := as_number(value)) is not None}
        self._seen |= dict.fromkeys(numbers)
        for name, number in list(numbers.items()):
            bare = next((name.removeprefix(start) for start in _OF_DEV if name.startswith(start)), name)
            numbers.setdefault(bare, number)
        needed = os.environ.get(METRIC)
        if needed is None or needed not in numbers:
            return
        others = {name: number for name, value in more.items() if (number := as_number(value)) is not None}
        report(epoch, **{**others, **numbers})
        self._has_reported = True

    def on_train_end(self, *given: Any, **named: Any) -> None:
        """The end of the training, as both have it; what is evaluated later is no epoch."""
        self._is_training = False
        needed = os.environ.get(METRIC)
        if needed is not None and not self._has_reported and self._seen:
            raise ReportError(f"a report needs {needed}, the objective's metric; measured were {', '.join(self._seen)}")

    # Hugging Face

    def on_train_begin(self, *given: Any, **named: Any) -> None:
        self._is_training = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **named: Any) -> None:
        """An evaluation: the end of an epoch, or of every so many steps."""
        if not (self._is_training and state.is_world_process_zero):
            return
        every = state.eval_steps if args.eval_strategy == "steps" else None
        epoch, rest = divmod(state.global_step, every) if every else divmod(round(state.epoch or 0, 6), 1)
        if rest:
            return  # the evaluation at the end, in the middle of an epoch
        logged: Mapping[str, object] = next((entry for entry in reversed(state.log_history) if "loss" in entry), {})
        more = {"train_loss": logged.get("loss"), "learning_rate": logged.get("learning_rate")}
        self._take(int(epoch), metrics or {}, more)

    # Lightning

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """The end of an epoch, behind its evaluation on the dev set."""
        epoch, rest = divmod(trainer.current_epoch + 1, trainer.check_val_every_n_epoch or 1)
        if rest or not trainer.is_global_zero:
            return
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._take(epoch, trainer.callback_metrics, {"learning_rate": rates[0]} if rates else {})
