"""Every store does what a model of dicts does, whatever is asked of it in whatever order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tau.stores.contract import Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.stateful import StoreMachine

QUICK = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
DEEP = settings(QUICK, max_examples=400, stateful_step_count=50, derandomize=False)


class MemoryMachine(StoreMachine):
    def make_store(self, path: Path) -> Store:
        return MemoryStore()

    def reopen(self, store: Store, path: Path) -> Store:
        return store


class SQLiteMachine(StoreMachine):
    def make_store(self, path: Path) -> Store:
        return SQLiteStore(path / "runs.db")


class FileMachine(StoreMachine):
    def make_store(self, path: Path) -> Store:
        return FileStore(path / "runs")


def with_settings(machine: type[StoreMachine], chosen: settings) -> type:
    case: type = machine.TestCase
    return type(case.__name__, (case,), {"settings": chosen})


TestMemory = with_settings(MemoryMachine, QUICK)
TestSQLite = with_settings(SQLiteMachine, QUICK)
TestFile = with_settings(FileMachine, settings(QUICK, max_examples=8))

TestMemoryDeep = pytest.mark.deep(with_settings(MemoryMachine, DEEP))
TestSQLiteDeep = pytest.mark.deep(with_settings(SQLiteMachine, DEEP))
TestFileDeep = pytest.mark.deep(with_settings(FileMachine, DEEP))
