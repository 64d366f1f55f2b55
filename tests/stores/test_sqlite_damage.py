"""A damaged SQLite file: typed errors or nothing, never a crash; what the store itself checks is never wrong.

Records and blobs are checksummed by the caller, so their bytes may come back changed: that is for the caller to find.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tau.errors import CorruptCheckpointError, StoreError, UnsupportedFormatError
from tau.stores.contract import Query
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.batches import batch, one, owner

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
    sound = [each for each in listed if each.status != "damaged"]
    assert all(each in right[3] for each in sound)
    return len(sound) < len(listed)


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


def test_a_row_without_a_run_id_takes_no_listing_down(tmp_path: Path) -> None:
    """Neither its id nor its summary can be read."""
    store = SQLiteStore(tmp_path / "a.db")
    for run_id in ("r", "s"):
        one(store, batch(run_id, 0))
    store.close()
    with apsw.Connection(store.path) as connection:
        connection.pragma("writable_schema", 1)
        connection.execute("update sqlite_schema set sql = replace(sql, 'run_id text not null', 'run_id text')")
    connection.close()
    with apsw.Connection(store.path) as connection:
        connection.execute("update runs set run_id = null, summary = x'00' where run_id = 's'")
    connection.close()
    assert [(each.run_id, each.status) for each in store.select(Query())] == [("", "damaged"), ("r", "running")]
    store.close()


def test_zeroed_blocks_are_noticed_or_harmless(tmp_path: Path, golden: tuple[bytes, Any]) -> None:
    data, right = golden
    for start in range(0, len(data), 512):
        check(tmp_path / "zero.db", data[:start] + bytes(512) + data[start + 512 :], right)


def test_a_run_that_its_index_does_not_lead_to_is_damage_and_does_not_begin_anew(tmp_path: Path) -> None:
    """Neither is it unknown, nor is its id free; other runs go on."""
    path = tmp_path / "a.db"
    store = SQLiteStore(path)
    for run_id in ("climate-2024", "other"):
        one(store, batch(run_id, 0))
    store.close()
    data = path.read_bytes()
    leaf = 0x0A  # of an index, says the SQLite file format
    (page,) = (at for at in range(4096, len(data), 4096) if data[at] == leaf and b"climate" in data[at : at + 4096])
    path.write_bytes(
        data[:page] + data[page : page + 4096].replace(b"climate-2024", b"climate-1024") + data[page + 4096 :]
    )
    for do in (lambda: store.summary("climate-2024"), lambda: store.delete("climate-2024")):
        with pytest.raises(CorruptCheckpointError, match="reindex"):
            do()
    assert isinstance(one(store, batch("climate-2024", 0)), CorruptCheckpointError)
    assert one(store, batch("other", 1)) == 2
    assert one(store, batch("new", 0)) == 1
    store.close()
    with apsw.Connection(str(path)) as connection:
        connection.execute("reindex runs")
    connection.close()
    assert one(store, batch("climate-2024", 1)) == 2
    store.close()


def test_a_journal_of_a_creation_that_failed_is_used_and_removed(tmp_path: Path) -> None:
    """It is what the next one who opens the database needs, so whoever failed leaves it there."""
    source, path = tmp_path / "source.db", tmp_path / "a.db"
    connection = apsw.Connection(str(source))
    connection.pragma("cache_size", 1)
    connection.execute("begin; create table half(x)")
    for _ in range(50):
        connection.execute("insert into half values(zeroblob(5000))")
    for end in ("", "-journal"):
        path.with_name(path.name + end).write_bytes(source.with_name(source.name + end).read_bytes())
    connection.close()
    assert path.stat().st_size > 4096
    store = SQLiteStore(path)
    assert one(store, batch("r", 0)) == 1
    assert not path.with_name("a.db-journal").exists()
    store.close()


@pytest.mark.parametrize("log", [True, False], ids=["with a log", "before it had one"])
def test_a_database_whose_maker_was_killed_in_a_transaction_opens(
    golden: tuple[bytes, Any], tmp_path: Path, log: bool
) -> None:
    """SQLite has to be alone to play its journal back, also when the first page says already that there is a log."""
    data, right = golden
    path = tmp_path / "killed.db"
    first = bytearray(data[:4096])
    if not log:
        first[18:20] = b"\1\1"  # as it is to be again: the change to a log had not ended
    path.write_bytes(data)
    path.with_name("killed.db-journal").write_bytes(hot_journal(bytes(first), len(data) // 4096))
    store = SQLiteStore(path, busy_timeout=0.2)
    assert look(store) == right
    assert one(store, batch("r", 3, owner=owner())) == 4
    assert path.with_name("killed.db-wal").stat().st_size > 0
    assert not path.with_name("killed.db-journal").exists()
    store.close()


def hot_journal(first: bytes, pages: int) -> bytes:
    """A rollback journal that holds the first page (https://sqlite.org/fileformat.html#the_rollback_journal)."""
    header = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + struct.pack(">5I", 1, 7, pages, 512, len(first))
    checksum = 7 + sum(first[at] for at in range(len(first) - 200, 0, -200))
    return header.ljust(512, b"\0") + struct.pack(">I", 1) + first + struct.pack(">I", checksum)


LONG = 10_000


def long_run(path: Path) -> SQLiteStore:
    """A run that is read in more than two blocks."""
    store = SQLiteStore(path)
    one(store, batch("r", 0, LONG))
    return store


def damaged(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("position", [2, 1500, 4096, 5000, 9000, 9999])
@pytest.mark.parametrize(
    "statement",
    [
        "delete from log where position = {}",
        "update log set record = 'text' where position = {}",
        "update log set previous = 'x' where position = {}",
        "update log set position = 'x' where position = {}",
        "update log set run = 7 where position = {}",
    ],
)
def test_a_long_log_that_is_damaged_anywhere_is_never_given_with_a_gap(
    tmp_path: Path, position: int, statement: str
) -> None:
    long_run(tmp_path / "runs.db").close()
    damaged(tmp_path / "runs.db", statement.format(position))
    store, found = SQLiteStore(tmp_path / "runs.db"), list[int]()
    with pytest.raises(CorruptCheckpointError, match="records are missing at or below"):
        found += (position for position, _ in store.scan("r"))
    assert found == list(range(1, len(found) + 1))
    with pytest.raises(CorruptCheckpointError, match="records are missing at or below"):
        store.read("r")
    store.close()


def test_a_long_log_that_is_deleted_while_it_is_given_ends_with_an_error(tmp_path: Path) -> None:
    store = long_run(tmp_path / "runs.db")
    found = store.scan("r")
    assert next(found)[0] == 1
    store.delete("r")
    one(store, batch("r", LONG + 1, LONG, base=LONG + 2))
    with pytest.raises(CorruptCheckpointError, match="records are missing at or below"):
        list(found)
    store.close()
