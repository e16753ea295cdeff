"""The rig as a fixture."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reliability.launch import Zygote
from tests.reliability.rig import Rig
from tests.store.conftest import PostgresServer, postgres

__all__ = ["postgres"]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A study whose runs are `python -m tuner run` processes."""
    made = Rig(tmp_path / "study")
    yield made
    end(made)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


@pytest.fixture
def server_rig(quick_rigs: Callable[[str], Rig], postgres: PostgresServer, request: pytest.FixtureRequest) -> Rig:
    """One such study, in a database of its own on a PostgreSQL server."""
    import psycopg

    name = f"rig {abs(hash(request.node.nodeid))}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    made = quick_rigs("on a server")
    made.store_url = postgres.url(name.replace(" ", "%20"))
    return made


@pytest.fixture
def quick_rig(quick_rigs: Callable[[str], Rig]) -> Rig:
    """One such study."""
    return quick_rigs("study")


@pytest.fixture
def quick_rigs(tmp_path: Path, zygote: Zygote) -> Iterator[Callable[[str], Rig]]:
    """Studies by name, whose runs start in milliseconds: forks of a process that has everything imported."""
    made: dict[str, Rig] = {}

    def make(name: str) -> Rig:
        made[name] = Rig(tmp_path / name, launcher=zygote)
        return made[name]

    yield make
    for one in made.values():
        end(one)


def end(rig: Rig) -> None:
    """End what a failed test has left."""
    for run in rig.runs:
        if run.alive:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
