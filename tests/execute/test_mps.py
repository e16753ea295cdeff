"""What is asked of Apple's MPS, by name, where there is none: it is waited for, emptied and seeded like a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tuner.execute import memory
from tuner.execute.memory import Memory
from tuner.models.generators import GeneratorStates, seed_generators
from tuner.train.device.gpus import wait_for

MPS = torch.device("mps")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def noting(name: str, answer: object = None) -> Callable[..., object]:
        def function(*arguments: object) -> object:
            found.append(name)
            return answer

        return function

    answers = {"current_allocated_memory": 0, "get_rng_state": torch.arange(3, dtype=torch.uint8)}
    for name in ("synchronize", "empty_cache", "current_allocated_memory", "manual_seed", "get_rng_state"):
        monkeypatch.setattr(torch.mps, name, noting(name, answers.get(name)))
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: found.append(f"set_rng_state {state.tolist()}"))
    return found


def test_who_measures_time_waits_for_it(asked: list[str]) -> None:
    wait_for(MPS)
    wait_for(torch.device("cpu"))
    assert asked == ["synchronize"]


@pytest.mark.slow
def test_its_cache_is_emptied_with_the_garbage(asked: list[str]) -> None:
    Memory(MPS).collect()
    assert "empty_cache" in asked
    assert memory.in_use(MPS) == 0


def test_its_generator_is_seeded_kept_and_put_back(asked: list[str]) -> None:
    states = GeneratorStates.now(torch.device("cpu"))
    try:
        seed_generators(7, "epoch", 0, device=MPS)
        kept = GeneratorStates.of_tensors(GeneratorStates.now(MPS).tensors())
        kept.restore(MPS)
        kept.restore(torch.device("cpu"))  # where it has nothing to be put back
        GeneratorStates(kept.library, kept.numpy, kept.python, torch.zeros(16)).restore(MPS)  # as CUDA leaves it
    finally:
        states.restore(torch.device("cpu"))
    assert asked == ["manual_seed", "get_rng_state", "get_rng_state", "set_rng_state [0, 1, 2]", "get_rng_state"]
