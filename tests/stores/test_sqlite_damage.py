"""A damaged SQLite file: typed errors or nothing, never a crash; what the store itself checks is never wrong.

Records and blobs are checksummed by the caller, so their bytes may come back changed: that is for the caller to find.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tau.errors import CorruptCheckpointError, StoreError, UnsupportedFormatError
from tau.stores.contract import Query
from tau.stores.sqlite import SQLiteStore
from tau.testing.batches import batch, one, owner

TYPED = (CorruptCheckpointError, UnsupportedFormatError, StoreError)


@pytest.fixture
def golden(tmp_path: Path) -> tuple[bytes, Any]:
    """The bytes of a small database, and what is right."""
    store = SQLiteStore(tmp_path / "golden.db")
    one(store, batch("r", 0, 2, blobs=[(b"x" * 32, b"data" * 10)], owner=owner()))
    one(store, batch("r", 2, 1, owner=owner()))
    one(store, batch("s", 0))
    right = look(store)
    store.close()
    return (tmp_path / "golden.db").read_bytes(), right


def look(store: SQLiteStore) -> Any:
    return store.summary("r"), store.read("r"), store.blobs("r", [b"x" * 32]), store.select(Query())


def check(path: Path, data: bytes, right: Any) -> bool:
    """Whether the damage was noticed; fails where something that the store checks is wrong."""
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(data)
    store = SQLiteStore(path)
    try:
        summary, rows, blobs, listed = look(store)
        refused = one(store, batch("r", 3, owner=owner()))
    except TYPED as error:
        return path.name in str(error)
    finally:
        store.close()
    assert not isinstance(refused, Exception) or isinstance(refused, TYPED) or summary is None, refused
    assert summary in (right[0], None)
    assert [position for position, _ in rows] in ([1, 2, 3], [])
    assert set(blobs) <= {b"x" * 32}
    assert all(each in right[3] for each in listed)
    return False


def flips(data: bytes, count: int) -> Iterator[bytes]:
    chance = random.Random(7)
    for _ in range(count):
        changed = bytearray(data)
        bit = chance.randrange(len(data) * 8)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def test_every_cut_is_noticed(tmp_path: Path, golden: tuple[bytes, Any]) -> None:
    """Only a file cut to nothing looks like a new one; a cut inside the last page may be harmless."""
    data, right = golden
    for size in (1, 15, 100, 511, 512, 513, 4096, 8192, len(data) - 4096):
        assert check(tmp_path / "cut.db", data[:size], right), size
    check(tmp_path / "cut.db", data[:-1], right)


@pytest.mark.parametrize("count", [150, pytest.param(20_000, marks=pytest.mark.deep)])
def test_flipped_bits_are_noticed_or_harmless(tmp_path: Path, golden: tuple[bytes, Any], count: int) -> None:
    data, right = golden
    noticed = [check(tmp_path / "flip.db", changed, right) for changed in flips(data, count)]
    assert any(noticed)


def test_zeroed_blocks_are_noticed_or_harmless(tmp_path: Path, golden: tuple[bytes, Any]) -> None:
    data, right = golden
    for start in range(0, len(data), 512):
        check(tmp_path / "zero.db", data[:start] + bytes(512) + data[start + 512 :], right)
