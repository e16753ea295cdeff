"""The contract of stores, over every kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.store_contract import SPACE, StoreContract, StoreHome
from tests.store.conftest import PostgresServer
from tuner.paths import StudyPaths
from tuner.records import Direction
from tuner.store.memory import MemoryStore
from tuner.store.optuna_store import OptunaStore, open_store


class MemoryHome:
    """Opens a memory store again with what the one before held."""

    def __init__(self) -> None:
        self._stores: dict[str, MemoryStore] = {}

    def open(self, study: str, *, direction: Direction = Direction.MAXIMIZE, seed: int = 0) -> MemoryStore:
        before = self._stores.get(study)
        store = MemoryStore(
            study=study,
            direction=direction,
            seed=seed,
            records=before.records() if before else (),
            facts={"sweep": before.get("sweep")} if before else None,
        )
        self._stores[study] = store
        return store


class DatabaseHome:
    """Opens studies in one database; closes at the end what a test left open."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self._paths = StudyPaths(folder)
        self._url = url
        self._stores: list[OptunaStore] = []

    def open(self, study: str, *, direction: Direction = Direction.MAXIMIZE, seed: int = 0) -> OptunaStore:
        store = open_store(
            self._paths, study=study, direction=direction, metric="accuracy", space=SPACE, seed=seed, url=self._url
        )
        self._stores.append(store)
        return store

    def close(self) -> None:
        for store in self._stores:
            store.close()


@pytest.mark.slow
class TestMemory(StoreContract):
    @pytest.fixture
    def home(self) -> StoreHome:
        return MemoryHome()


@pytest.mark.slow
class TestSqlite(StoreContract):
    @pytest.fixture
    def home(self, tmp_path: Path) -> Iterator[StoreHome]:
        home = DatabaseHome(tmp_path / "digits", None)
        yield home
        home.close()


@pytest.mark.deep
@pytest.mark.usefixtures("network_drive")
class TestSqliteOnANetworkDrive(TestSqlite):
    pass


@pytest.mark.deep
class TestPostgres(StoreContract):
    @pytest.fixture
    def home(self, tmp_path: Path, postgres: PostgresServer) -> Iterator[StoreHome]:
        home = DatabaseHome(tmp_path / "digits", postgres.url())
        yield home
        home.close()
