"""The first step of a LightningModule, taken before its first trial to see whether it can be trained at all."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tuner.data.dataset import Split
from tuner.errors import TunerError, UserCodeError
from tuner.imports import load_object
from tuner.models.keyed import key
from tuner.records import ParamValue
from tuner.train.before.read_params import ReadParams, told
from tuner.train.program import EpochPlan, Member
from tuner.train.programs.lightning.program import LightningProgram
from tuner.train.task import Task

EXAMPLES = 4


def read_in_lightning(task: Task, member: Member, values: Mapping[str, ParamValue]) -> tuple[bool, set[str]]:
    """Train a configuration's LightningModule for a step: whether it had gradients, and which values were read.

    Raises:
        TunerError: it cannot be trained; the message says what is wrong.
    """
    task.program([member])  # refuses what cannot be with a LightningModule
    factory = load_object(task.spec.model.kind, root=Path(task.spec.root))
    params = ReadParams(dict(values))
    if isinstance(factory, type):
        module = member.make_module()
        parameters = inspect.signature(factory).parameters
        params.read.update(parameters)
        if "params" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            params.read.update(values)
    else:
        assert callable(factory)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(member.seed, "init"))
            module = factory(params, task.info)
    learns = _step(task, replace(member, make_module=lambda: module))
    return learns, params.read


def _step(task: Task, member: Member) -> bool:
    kind, problem = task.spec.model.kind, task.problem
    train, dev = (Split(part.inputs[:EXAMPLES], part.targets[:EXAMPLES]) for part in (problem.train, task.data.dev))
    program = LightningProgram([member], replace(problem, train=train), dev=dev)
    plan = EpochPlan(
        order_KN=torch.arange(len(train), device=problem.device).unsqueeze(0),
        learning_rate_SK=np.zeros((1, 1)),
        step_SK=np.zeros((1, 1), dtype=np.int64),
    )
    try:
        with torch.random.fork_rng(devices=[]):
            program.train_steps(plan, 0, 1)
        program.state(0)
        return program.learns(0)
    except UserCodeError as error:
        raise UserCodeError(f"{kind}: {error}") from error
    except TunerError:
        raise
    except Exception as error:
        raise UserCodeError(f"{kind} cannot be trained by Lightning's Trainer: {told(error)}") from error
    finally:
        program.resized([], [])
