"""Each store, and a second one beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tau import open_store
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

KINDS = ["memory", "sqlite", "file", "postgres", "redis", "s3"]


def opened(kind: str, folder: Path, request: pytest.FixtureRequest) -> Store:
    """A store without runs, of that kind."""
    if kind == "memory":
        return MemoryStore()
    if kind in ("postgres", "redis", "s3"):
        return open_store(request.getfixturevalue(f"{kind}_url"))
    return open_store(f"sqlite:///{folder}/runs.db" if kind == "sqlite" else f"file://{folder}/runs")


@pytest.fixture(params=[*KINDS[:-1], pytest.param(KINDS[-1], marks=pytest.mark.deep)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with opened(request.param, tmp_path, request) as place:
        yield place


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Store]:
    """A second store."""
    with open_store(f"sqlite:///{tmp_path}/elsewhere/runs.db") as place:
        yield place
