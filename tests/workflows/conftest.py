"""What the tests of the workflows are given: each store in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tau import open_store
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore


@pytest.fixture(params=["memory", "sqlite", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store(
        f"sqlite:///{tmp_path}/runs.db" if request.param == "sqlite" else f"file:{tmp_path}/runs"
    ) as opened:
        yield opened
