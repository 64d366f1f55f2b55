"""Every store keeps every clause of the contract: as it is, when it is slow, and when requests and replies get lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote import RemoteStore, start

from tau.stores.contract import Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.suite import FlakyStore, RetryingStore, SlowStore, StoreContract
from tau.testing.store_contract.verb_clauses import VerbClauses


class TestMemory(StoreContract):
    """It lives as long as its process, so "reopened" means closed and used again."""

    def make_store(self, tmp_path: Path) -> Store:
        return MemoryStore()

    def another(self, store: Store, tmp_path: Path) -> Store:
        return store

    def reopen(self, store: Store, tmp_path: Path) -> Store:
        store.close()
        return store


class OfSQLite(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return SQLiteStore(tmp_path / "runs.db")


class OfFiles(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return FileStore(tmp_path / "runs")


@pytest.mark.disk
class TestSQLite(OfSQLite):
    pass


@pytest.mark.disk
class TestFile(OfFiles):
    pass


def slow(store: Store) -> Store:
    return SlowStore(store, pause=lambda seconds: os.sched_yield())


def flaky(store: Store) -> Store:
    return RetryingStore(FlakyStore(store, seed=1, probability=0.2))


@pytest.fixture(scope="module")
def process() -> Iterator[subprocess.Popen[bytes]]:
    process = start()
    yield process
    process.communicate()


class TestSQLiteOfTwoProcesses(VerbClauses):
    """The second one calls every verb at every position of a run that the first one works on."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with SQLiteStore(tmp_path / "runs.db") as store:
            yield store

    @pytest.fixture
    def other(self, store: Store, process: subprocess.Popen[bytes]) -> Iterator[Store]:
        with RemoteStore(process, store.location) as other:
            yield other


class TestFileOfTwoProcesses(TestSQLiteOfTwoProcesses):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with FileStore(tmp_path / "runs") as store:
            yield store


class TestSlowMemory(TestMemory):
    def make_store(self, tmp_path: Path) -> Store:
        return slow(super().make_store(tmp_path))


class TestSlowSQLite(OfSQLite):
    def make_store(self, tmp_path: Path) -> Store:
        return slow(super().make_store(tmp_path))


class TestSlowFile(OfFiles):
    def make_store(self, tmp_path: Path) -> Store:
        return slow(super().make_store(tmp_path))


class TestFlakyMemory(TestMemory):
    def make_store(self, tmp_path: Path) -> Store:
        return flaky(super().make_store(tmp_path))


class TestFlakySQLite(OfSQLite):
    def make_store(self, tmp_path: Path) -> Store:
        return flaky(super().make_store(tmp_path))


class TestFlakyFile(OfFiles):
    def make_store(self, tmp_path: Path) -> Store:
        return flaky(super().make_store(tmp_path))
