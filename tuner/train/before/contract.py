"""What a user's model must keep to, looked at once before the first trial: what it returns, reads, and gives."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tuner.errors import TunerError, UserCodeError
from tuner.imports import load_object
from tuner.models.adapted import parts_of
from tuner.models.build import build_module
from tuner.models.generators import generators_kept
from tuner.models.lightning import is_lightning
from tuner.records import Params, ParamValue, TrialJob
from tuner.spec.defaults import build_space, fixed_for_loop, settings_for
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.model import SweepSpec
from tuner.train.before.lightning import read_in_lightning
from tuner.train.before.read_params import ReadParams, told
from tuner.train.programs.user_parts import auxiliary_loss
from tuner.train.task import Task

log = logging.getLogger(__name__)

SEED = 0
EXAMPLES = 4
_OTHERS = 16
"""Configurations that are tried, until one can be trained, where the default one cannot."""
_TOKENS = "; token ids are whole numbers: write data.normalise: false, and inputs.long() in the forward"
_GROUPS = "; where its forward takes several inputs, data.inputs names the columns of each"
_OF_FACTORIES = frozenset(h.name for h in HYPERPARAMETERS.values() if h.of_model) | {"init", "dropout", "dropout_last"}
"""What in a module of the user's only its factory can heed: its layers, its first weights, and rates of its dropout."""
_KEPT_BY_US = frozenset({"batch_size", "clip_norm", "epochs"})
"""What holds for a LightningModule too, which does all else of a step itself."""


def check_before_trials(task: Task) -> None:
    """As `check_contract`, for a run: what only the default configuration cannot do is left to its trial to fail of.

    Raises:
        TunerError: neither it nor any of a few others can be trained; the message says what is wrong.
    """
    space = build_space(task.spec)
    try:
        check_contract(task)
    except TunerError as error:
        if isinstance(error.__cause__, MemoryError | torch.OutOfMemoryError):
            log.warning("%s", error)  # of which a trial ends, and a smaller one need not
            return
        draw = random.Random(SEED)
        others = [space.from_units([draw.random() for _ in space]) for _ in range(_OTHERS)]
        if not any(_can_be_trained(task, params) for params in others):
            raise
        log.warning("%s; that is so for the default configuration, others can be trained", error)


def _can_be_trained(task: Task, params: Params) -> bool:
    try:
        check_contract(task, params)
    except TunerError:
        return False
    return True


def check_contract(task: Task, params: Params | None = None) -> None:
    """Build a configuration's module, the default one's if none is given, and try a step on a few examples.

    Raises:
        TunerError: it cannot be trained; the message says what is wrong.
    """
    spec, kind = task.spec, task.spec.model.kind
    params = build_space(spec).default() if params is None else params
    values = settings_for(spec, params)
    module = _built(spec, values, task)
    if not any(p.requires_grad for p in module.parameters()):
        raise UserCodeError(f"{kind} returned a module without a parameter that requires a gradient; nothing can learn")
    inputs, targets = task.data.train.inputs[:EXAMPLES], task.data.train.targets[:EXAMPLES]
    outputs = _outputs(module.eval(), inputs, kind=kind)
    shape, expected = tuple(outputs.shape), (len(inputs), task.info.num_outputs)
    if outputs.numel() != len(inputs) * task.info.num_outputs or shape[:1] != expected[:1]:
        what = "a prediction for each target" if task.info.task == "regression" else "a logit for each class or label"
        given = f"outputs of shape {shape} for {len(inputs)} examples"
        raise UserCodeError(f"{kind} gives {given}; give {what}: {expected}")
    outputs = _outputs(module.train(), inputs, kind=kind)
    if not outputs.requires_grad:
        raise UserCodeError(
            f"{kind} gives outputs without a gradient, so nothing can learn from a batch; look for detach(), .data, "
            "no_grad() or NumPy in its forward"
        )
    if torch.isfinite(inputs).all() and not torch.isfinite(outputs).all():
        rest = "before any training; look at its initial weights"
        raise UserCodeError(f"{kind} gives outputs that are no finite numbers {rest}")
    if is_lightning(type(module)):
        member = task.member(TrialJob(trial=0, params=params, seed=SEED, to_epoch=1, folder=""))
        learns, read = read_in_lightning(task, member, values)
    else:
        loss = task.batch_loss(outputs.float().view(expected), targets)
        if spec.training.auxiliary_loss is not None:
            loss = loss + auxiliary_loss(module, spec.training.auxiliary_loss)
        _backward(loss, kind=kind)
        _step(task, module, params)
        learns = any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())
        read = _read_by_factory(spec, values, task)
    if task.spec.data.normalised.inputs and _has_embedding(module) and not bool((inputs == inputs.round()).all()):
        log.warning("%s looks inputs up in an embedding, and they are normalised%s", kind, _TOKENS)
    if not learns:
        log.warning("%s: no parameter gets a gradient from the first batch, so nothing may learn from it", kind)
    _say_what_is_not_read(spec, read, is_all_theirs=is_lightning(type(module)))
    if spec.training.fuse == "require":
        task.ways.told(task.member(TrialJob(trial=0, params=params, seed=SEED, to_epoch=1, folder="")))


def _built(spec: SweepSpec, values: Mapping[str, ParamValue], task: Task) -> nn.Module:
    try:
        return build_module(spec, values, task.info, seed=SEED).to(task.device)
    except TunerError:
        raise
    except (Exception, SystemExit) as error:
        raise UserCodeError(f"{spec.model.kind} cannot be built: {told(error)}") from error


def _outputs(module: nn.Module, inputs: Tensor, *, kind: str) -> Tensor:
    try:
        outputs = module(inputs.clone())  # which are the module's to change
    except Exception as error:
        shape = tuple(inputs.shape)
        hint = _TOKENS if _has_embedding(module) else _GROUPS if "positional argument" in str(error) else ""
        raise UserCodeError(f"{kind} fails for inputs of shape {shape}: {told(error)}{hint}") from error
    if not isinstance(outputs, Tensor):
        raise UserCodeError(
            f"{kind} gives {parts_of(outputs)}; its forward must return a tensor, or model.outputs name its part"
        )
    return outputs


def _has_embedding(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Embedding | nn.EmbeddingBag) for part in module.modules())


def _backward(loss: Tensor, *, kind: str) -> None:
    try:
        loss.backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        raise UserCodeError(f"{kind} fails in its backward pass: {told(error)}") from error


def _step(task: Task, module: nn.Module, params: Params) -> None:
    """Try the optimiser on the gradients: sparse ones are not for all of them."""
    settings = task.member(TrialJob(trial=0, params=params, seed=SEED, to_epoch=1, folder="")).settings
    kind, optimizer = task.spec.model.kind, task.spec.training.optimizer
    sparse = [n for n, p in module.named_parameters() if p.grad is not None and p.grad.is_sparse]
    try:
        if sparse and settings.clip_norm is not None:
            raise RuntimeError("clip_norm has no norm of sparse gradients")
        task.parts.new_optimizer(module, settings).step()
    except TunerError:
        raise
    except Exception as error:
        if not sparse:
            raise UserCodeError(f"{optimizer} fails on the gradients of {kind}: {told(error)}") from error
        raise UserCodeError(
            f"{kind} gives sparse gradients ({', '.join(sparse)}), which {optimizer} does not take with these settings "
            f"({told(error)}); leave out sparse=True, or use sgd without weight decay, or an optimiser of yours "
            "such as torch.optim.SparseAdam"
        ) from error


def _read_by_factory(spec: SweepSpec, values: Mapping[str, ParamValue], task: Task) -> set[str]:
    """The names of the values that the factory looks at."""
    factory = load_object(spec.model.kind, root=Path(spec.root))
    assert callable(factory)
    params = ReadParams(dict(values))
    with generators_kept():
        factory(params, task.info)
    return params.read


def _say_what_is_not_read(spec: SweepSpec, read: set[str], *, is_all_theirs: bool) -> None:
    """Searched parameters that nothing looks at change nothing, and waste trials.

    Args:
        spec: The sweep.
        read: The names that are looked at.
        is_all_theirs: Whether tuner itself reads none but the size of batches and the clipping of gradients.
    """
    ours = _KEPT_BY_US if is_all_theirs else HYPERPARAMETERS.keys() - _OF_FACTORIES
    asked = [d.name for d in build_space(spec) if not d.when]
    fixed = fixed_for_loop(spec)
    asked += [name for name in fixed if is_all_theirs or (name in _OF_FACTORIES and fixed[name])]
    unread = [name for name in asked if name not in ours and name not in read]
    if unread:
        log.warning(
            "%s does not read %s for the default configuration; a parameter that nothing reads only wastes trials",
            spec.model.kind, ", ".join(unread),
        )  # fmt: skip
