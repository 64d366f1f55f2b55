"""Filling file stores, and looking at the bytes by another road than the store."""

from __future__ import annotations

from pathlib import Path

from tau.stores import names
from tau.stores.contract import Batch
from tau.stores.file import FileStore
from tau.testing.store_contract.batches import batch, one, owner


def directory(store: FileStore, run_id: str = "r") -> Path:
    return Path(store.root) / "runs" / names.directory_of(run_id)


def fill(store: FileStore, count: int, run_id: str = "r", start: int = 0) -> list[Batch]:
    batches = [batch(run_id, position, owner=owner()) for position in range(start, start + count)]
    for each in batches:
        assert isinstance(one(store, each), int)
    return batches


def contents(store: FileStore) -> list[bytes]:
    return [record for _, record in store.read("r")]
