"""The public test suite of stores: subclass `StoreContract`, say how to make a store, run pytest.

::

    class TestMine(StoreContract):
        def make_store(self, tmp_path):
            return MyStore(tmp_path / "runs")

For readable failures call ``pytest.register_assert_rewrite("tau.testing")`` in a conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tau.stores.contract import Store
from tau.testing.store_contract.due_clauses import DueClauses
from tau.testing.store_contract.log_clauses import LogClauses
from tau.testing.store_contract.run_clauses import RunClauses
from tau.testing.store_contract.trim_clauses import TrimClauses
from tau.testing.store_contract.verb_clauses import VerbClauses
from tau.testing.store_wrappers import CountingStore, FlakyStore, RetryingStore, SlowStore, StoreWrapper

__all__ = ["CountingStore", "FlakyStore", "RetryingStore", "SlowStore", "StoreContract", "StoreWrapper"]


class StoreContract(TrimClauses, VerbClauses, RunClauses, DueClauses, LogClauses):
    """Every sentence of the contract, one test each. Two stores made from one ``tmp_path`` are the same place.

    ``threads`` is the number of writers that race; ``large`` is the size of large data in bytes,
    ``forgets`` whether its server may forget what it has acknowledged. A broken sentence
    raises `AssertionError`, as in any test.

    >>> from tau.stores.file import FileStore
    >>> from tau.testing import StoreContract
    >>> class TestMine(StoreContract):  # pytest finds it
    ...     def make_store(self, tmp_path):
    ...         return FileStore(tmp_path / "runs")
    ...     def another(self, store, tmp_path):
    ...         return self.make_store(tmp_path)
    ...     def reopen(self, store, tmp_path):
    ...         store.close()
    ...         return self.make_store(tmp_path)
    """

    threads = 8
    large = 1_000_000
    forgets = False

    def make_store(self, tmp_path: Path) -> Store:
        """The store to be tested, at ``tmp_path``. Raises `NotImplementedError` until a subclass defines it."""
        raise NotImplementedError("return a store at tmp_path")

    def another(self, store: Store, tmp_path: Path) -> Store:
        """A second store object at the same place, as another process has it. Raises what `make_store` raises."""
        return self.make_store(tmp_path)

    def reopen(self, store: Store, tmp_path: Path) -> Store:
        """The same place after everything was closed. Raises what `make_store` raises."""
        store.close()
        return self.make_store(tmp_path)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = self.make_store(tmp_path)
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: Store, tmp_path: Path) -> Iterator[Store]:
        other = self.another(store, tmp_path)
        yield other
        other.close()
