"""One trial's `Trainer.fit`, in a thread that rests at the end of each epoch until the cohort's loop wants the next.

So Lightning's loop, hooks, schedulers and callbacks are at work as its users know them, and the trial is scored,
stopped and kept as any other. Of the two threads one always waits for the other.
"""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tuner.data.dataset import Split
from tuner.data.stored import StreamedInputs
from tuner.errors import UserCodeError
from tuner.imports import require
from tuner.models.keyed import seed_module
from tuner.models.lightning import package_of
from tuner.train.device.gpus import make_current
from tuner.train.program import EpochPlan, Member, Problem, evaluation_chunks

Json = dict[str, Any]

END_SECONDS = 10.0
"""So long the end of a fit may take: the module's `on_train_end` and `on_fit_end`."""
_ACCELERATORS = {"cuda": "gpu", "cpu": "cpu", "mps": "mps"}
_REBUILT = ("state_dict", "hyper_parameters", "hparams_name", "hparams_type")
"""What Lightning writes into a checkpoint, and the factory and the program's own state give anyway."""


class _Course:
    """What the two threads share. It knows nothing of `Fit`, so that a fit that nobody holds any more can be ended."""

    def __init__(self) -> None:
        self.plan: EpochPlan | None = None
        self.gradient_norms: dict[str, Tensor] = {}
        self.error: BaseException | None = None
        self.thread: threading.Thread | None = None
        self._go = threading.Semaphore(0)
        self._rests = threading.Semaphore(0)
        self._leaving = False
        self._is_first = True

    # The cohort's side

    def advance(self) -> None:
        """Let the fit train until it rests again, or has ended."""
        assert self.thread is not None
        if self.thread.ident is None:
            self.thread.start()
        else:
            self._go.release()
        self._rests.acquire()
        if self.error is not None:
            raise self.error

    def leave(self) -> None:
        """End the fit where it rests."""
        self._leaving = True
        self._go.release()
        if self.thread is not None and self.thread.ident and self.thread is not threading.current_thread():
            self.thread.join(END_SECONDS)

    # The fit's side

    def rest(self) -> None:
        """Wait for the next epoch; at the first there is nothing to wait for."""
        if not self._is_first:
            self._rests.release()
            self._go.acquire()
        self._is_first = False
        if self._leaving:
            raise StopIteration  # by which Lightning's loop ends in good order

    def run(self, trainer: Any, module: nn.Module, loaders: Mapping[str, object], ckpt_path: str | None) -> None:
        try:
            make_current(trainer.strategy.root_device)
            trainer.fit(module, **loaders, ckpt_path=ckpt_path)
        except BaseException as error:  # whatever it is, it is the trial's
            self.error = error
        finally:
            self._rests.release()


class _Batches:
    """The training batches of the epoch that is planned."""

    def __init__(self, course: _Course, train: Split, *, batch_size: int) -> None:
        self._course = course
        self._train = train
        self._batch_size = batch_size

    def __len__(self) -> int:
        assert self._course.plan is not None
        return len(self._course.plan.step_SK)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(len(self)):
            assert self._course.plan is not None
            first = number * self._batch_size
            chosen = self._course.plan.order_KN[0, first : first + self._batch_size]
            if isinstance(self._train.inputs, StreamedInputs):
                self._train.inputs.hold(first, self._batch_size)
            yield self._train.inputs[chosen], self._train.targets[chosen]


class _DevBatches:
    """The dev examples, for `validation_step`."""

    def __init__(self, dev: Split) -> None:
        self._dev = dev
        self._sizes = [len(chunk) for chunk in evaluation_chunks(dev.targets)]

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(evaluation_chunks(self._dev.inputs), evaluation_chunks(self._dev.targets), strict=True)


class Fit:
    """One trial's module, and the Trainer that trains it."""

    def __init__(self, member: Member, problem: Problem, *, dev: Split) -> None:
        self.member = member
        self.module: nn.Module = member.make_module().to(problem.device)
        self.best: dict[str, Tensor] = {}
        self.keep_best()
        self._problem = problem
        self._dev = dev
        self._kept: bytes = b""
        """What a checkpoint held of Lightning's, to go on from."""
        self._course = _Course()
        self._trainer: Any = None
        self._end = weakref.finalize(self, self._course.leave)

    def epoch(self, plan: EpochPlan) -> None:
        """Train the epoch of a plan for this trial alone; its learning rates become those of the module's optimiser.

        Raises:
            UserCodeError: the module has no optimiser.
            Exception: whatever the module or Lightning raised.
        """
        self._course.plan = plan
        if self._course.thread is None:
            self._prepare()
        self._course.advance()

    @property
    def gradient_norms(self) -> dict[str, Tensor]:
        """The L2 norms of the gradients of the last step by parameter name."""
        return self._course.gradient_norms

    def close(self) -> None:
        """End the fit."""
        self._end()

    def keep_best(self) -> None:
        """Remember the present weights as the best."""
        self.best = _weights_of(self.module)

    def lightning_state(self) -> bytes:
        """What Lightning needs to go on, besides the weights; empty before the first epoch.

        Raises:
            UserCodeError: it holds what cannot be read again without running code.
        """
        if self._trainer is None:
            return self._kept
        self._trainer.save_checkpoint("memory")
        found = {name: value for name, value in self._memory.checkpoint.items() if name not in _REBUILT}
        file = io.BytesIO()
        torch.save(found, file)
        _require_safe(file.getvalue())
        return file.getvalue()

    def load_lightning_state(self, state: bytes) -> None:
        """Go on from what `lightning_state` returned, with weights that were loaded before."""
        self._kept = state

    def _prepare(self) -> None:
        """Make the Trainer, and the thread that it will train in."""
        package, member = package_of(self.module), self.member
        environments = require(f"{package.__name__}.plugins.environments", extra="lightning")
        train, device = self._problem.train, self._problem.device
        self._memory = _memory(package)
        if self._kept:
            found = torch.load(io.BytesIO(self._kept), weights_only=True, map_location=device)
            self._memory.checkpoint = {**found, "state_dict": self.module.state_dict()}
        logging.getLogger(package.__name__).setLevel(logging.WARNING)  # it tells each Trainer's devices, and tips
        # It is said wherever SLURM is installed, and a trial is one process everywhere.
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        settings = member.settings
        self._trainer = package.Trainer(
            accelerator=_ACCELERATORS[device.type],
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision="bf16-mixed" if self._problem.half else "32-true",
            max_epochs=settings.epochs,
            min_epochs=settings.epochs,  # trials are stopped by the sweep, all by the same rule
            gradient_clip_val=settings.clip_norm,
            callbacks=[_callback(package, self._course, member.seed, device)],
            plugins=[self._memory, environments.LightningEnvironment()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        validates = getattr(type(self.module), "validation_step", None) is not package.LightningModule.validation_step
        loaders = {
            "train_dataloaders": _Batches(self._course, train, batch_size=settings.batch_size),
            "val_dataloaders": _DevBatches(self._dev) if validates else None,
        }
        self._course.thread = threading.Thread(
            target=self._course.run,
            args=(self._trainer, self.module, loaders, "memory" if self._kept else None),
            name="fit",
            daemon=True,
        )


def _callback(package: Any, course: _Course, seed: int, device: torch.device) -> Any:
    """What joins Lightning's loop to the cohort's."""

    def begin(trainer: Any, _module: object) -> None:
        if not any(optimizer.param_groups for optimizer in trainer.optimizers):  # Lightning puts in an empty one
            raise UserCodeError("configure_optimizers returned no optimiser, so nothing can learn")
        # A checkpoint is of the moment between two epochs; Lightning takes it for one in the middle of its loops.
        trainer.fit_loop.restarting = False

    def begin_step(trainer: Any, _module: object, _batch: object, number: int) -> None:
        assert course.plan is not None
        course.plan.learning_rate_SK[number, 0] = trainer.optimizers[0].param_groups[0]["lr"]
        seed_module(seed, int(course.plan.step_SK[number, 0]), device)

    def end_step(_trainer: object, module: nn.Module, _outputs: object, _batch: object, number: int) -> None:
        assert course.plan is not None
        if number == len(course.plan.step_SK) - 1:  # Lightning drops all gradients when its loop has ended
            named = module.named_parameters()
            course.gradient_norms = {name: p.grad.norm().cpu() for name, p in named if p.grad is not None}

    return package.callbacks.LambdaCallback(
        on_train_start=begin,
        on_train_epoch_start=lambda _trainer, _module: course.rest(),
        on_train_batch_start=begin_step,
        on_train_batch_end=end_step,
    )


def _memory(package: Any) -> Any:
    """A place for Lightning's checkpoints that is no file: the trial's own checkpoint holds them."""

    class Memory(package.plugins.CheckpointIO):  # type: ignore[misc]
        checkpoint: Json

        def save_checkpoint(self, checkpoint: Json, path: str, storage_options: object = None) -> None:
            self.checkpoint = checkpoint

        def load_checkpoint(self, path: str, map_location: object = None, weights_only: bool | None = None) -> Json:
            return self.checkpoint

        def remove_checkpoint(self, path: str) -> None:
            self.checkpoint = {}

    return Memory()


def _require_safe(state: bytes) -> None:
    try:
        torch.load(io.BytesIO(state), weights_only=True)
    except Exception as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = named[1] if named else "objects"
        raise UserCodeError(
            f"its checkpoint holds {what}, which cannot be read again safely; let on_save_checkpoint, callbacks and "
            "schedulers keep tensors, numbers and texts"
        ) from None


def _weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's parameters and buffers."""
    return {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}
