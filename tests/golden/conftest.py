"""The golden stores that are unpacked for each test."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import unpack

from tau import open_store
from tau.stores.contract import Store


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The store in the module's ``ARCHIVE``."""
    with tarfile.open(request.module.ARCHIVE) as tar:
        unpack(tar, tmp_path)
    with open_store(f"file://{tmp_path}") as opened:
        yield opened
