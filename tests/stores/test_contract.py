"""Every store keeps every clause of the contract: as it is, when it is slow, and when requests and replies get lost."""

from __future__ import annotations

import os
from pathlib import Path

from tau.stores.contract import Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.suite import FlakyStore, RetryingStore, SlowStore, StoreContract


class TestMemory(StoreContract):
    """It lives as long as its process, so "reopened" means closed and used again."""

    def make_store(self, tmp_path: Path) -> Store:
        return MemoryStore()

    def another(self, store: Store, tmp_path: Path) -> Store:
        return store

    def reopen(self, store: Store, tmp_path: Path) -> Store:
        store.close()
        return store


class TestSQLite(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return SQLiteStore(tmp_path / "runs.db")


class TestFile(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return FileStore(tmp_path / "runs")


def slow(store: Store) -> Store:
    return SlowStore(store, pause=lambda seconds: os.sched_yield())


def flaky(store: Store) -> Store:
    return RetryingStore(FlakyStore(store, seed=1, probability=0.2))


class TestSlowMemory(TestMemory):
    def make_store(self, tmp_path: Path) -> Store:
        return slow(super().make_store(tmp_path))


class TestSlowSQLite(TestSQLite):
    def make_store(self, tmp_path: Path) -> Store:
        return slow(super().make_store(tmp_path))


class TestSlowFile(TestFile):
    def make_store(self, tmp_path: Path) -> Store:
        return slow(super().make_store(tmp_path))


class TestFlakyMemory(TestMemory):
    def make_store(self, tmp_path: Path) -> Store:
        return flaky(super().make_store(tmp_path))


class TestFlakySQLite(TestSQLite):
    def make_store(self, tmp_path: Path) -> Store:
        return flaky(super().make_store(tmp_path))


class TestFlakyFile(TestFile):
    def make_store(self, tmp_path: Path) -> Store:
        return flaky(super().make_store(tmp_path))
