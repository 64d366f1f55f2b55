"""The pytest plugin of tau: it is found by pytest, and loads tau when a test first asks for one of its fixtures.

It stands beside the package, so that pytest need not import tau to find it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tau.testing import CountingStore, CrashTestResult, FlakyStore, SlowStore


@pytest.fixture
def crash_test() -> Callable[..., CrashTestResult]:
    """`tau.testing.crash_test`: ``crash_test(graph, input)`` kills the graph for real around its commits, resumes it,
    and fails the test if that can be told from a run that was left alone."""
    from tau.testing.crashes.crash_test import crash_test

    return crash_test


@pytest.fixture
def slow_store(tmp_path: Path) -> Iterator[SlowStore]:
    """A SQLite store of this test's own that pauses before and after every call; ``slow_store.seconds`` is how long."""
    from tau.stores.sqlite import SQLiteStore
    from tau.testing import SlowStore

    with SQLiteStore(tmp_path / "slow.db") as store:
        yield SlowStore(store)


@pytest.fixture
def flaky_store(tmp_path: Path) -> Iterator[FlakyStore]:
    """A SQLite store of this test's own whose requests and replies get lost with ``flaky_store.probability``, in
    commits only, which tau tries again."""
    from tau.stores.sqlite import SQLiteStore
    from tau.testing import FlakyStore

    with SQLiteStore(tmp_path / "flaky.db") as store:
        yield FlakyStore(store, methods=["commit"])


@pytest.fixture
def counting_store(tmp_path: Path) -> Iterator[CountingStore]:
    """A SQLite store of this test's own that counts: ``counting_store.calls`` of each method, and what was
    ``committed``."""
    from tau.stores.sqlite import SQLiteStore
    from tau.testing import CountingStore

    with SQLiteStore(tmp_path / "counting.db") as store:
        yield CountingStore(store)
