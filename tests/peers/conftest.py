"""The benchmarks are no part of the package: they are found from the root of the checkout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="module")
def tau_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A process that does the tasks with tau."""
    from benchmarks.peers.comparison import Worker

    worker = Worker("tau", tmp_path_factory.mktemp("log") / "log")
    assert not worker.absent
    yield worker
    worker.close()
