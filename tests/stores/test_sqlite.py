"""SQLite: settings, foreign files, network file systems, files that go away, clocks."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from tau.errors import CorruptCheckpointError, StoreError, StoreUnavailableError, UnsupportedFormatError
from tau.stores import mounts
from tau.stores.contract import Lease, Query
from tau.stores.disk import Descriptor
from tau.stores.file import FileStore
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.batches import batch, one, owner

pytestmark = pytest.mark.disk


def test_settings_that_survive_a_power_cut_are_on(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.db")
    one(store, batch("r", 0))
    connection = store._connections.writer
    assert connection is not None
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("mmap_size") in (0, None)
    store.close()


def test_who_reads_first_and_then_commits_opens_the_database_once(tmp_path: Path) -> None:
    """As a resume does. Later reads have a connection of their own again, beside an open transaction."""
    one(first := SQLiteStore(tmp_path / "a.db"), batch("r", 0))
    first.close()
    store = SQLiteStore(tmp_path / "a.db")
    assert store.read("r")
    opened = {id(connection) for connection in apsw.connections() if connection.filename == store.path}
    assert one(store, batch("r", 1)) == 2
    assert {id(connection) for connection in apsw.connections() if connection.filename == store.path} == opened
    writer = store._connections.writer
    assert writer is not None
    writer.execute("begin immediate")
    assert len(store.read("r")) == 2
    writer.execute("rollback")
    assert store._connections.reader not in (None, writer)
    store.close()


@pytest.mark.parametrize("kind", ["nfs4", "nfs", "lustre", "gpfs", "smb3", "cifs", "9p", "fuse.sshfs", "beegfs"])
def test_a_network_file_system_is_refused_before_anything_is_made(tmp_path: Path, kind: str) -> None:
    store = SQLiteStore(tmp_path / "deep" / "a.db", file_system=lambda path: kind)
    refused = one(store, batch("r", 0))
    assert isinstance(refused, StoreUnavailableError)
    assert kind in str(refused)
    assert "file:" in str(refused)
    with pytest.raises(StoreUnavailableError, match=kind):
        store.summary("r")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "overlay", "apfs", "fuseblk", ""])
def test_a_local_or_unknown_file_system_is_taken(tmp_path: Path, kind: str) -> None:
    store = SQLiteStore(tmp_path / "a.db", file_system=lambda path: kind)
    assert one(store, batch("r", 0)) == 1
    store.close()


def test_the_file_system_of_a_path_is_that_of_its_nearest_mount(tmp_path: Path) -> None:
    """The later of two mounts at one point counts; spaces are unquoted; no table, no answer."""
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw - ext4 /dev/root rw\n"
        "23 22 0:5 / /data rw,noatime shared:3 - ext4 /dev/b rw\n"
        "24 23 0:6 / /data rw - nfs4 server:/x rw\n"
        "25 22 0:7 / /with\\040space rw master:1 - lustre mgs:/fs rw\n"
        "26 24 0:8 / /data/local rw - xfs /dev/c rw\n"
        "nonsense\n"
    )
    expected = {
        "/data/x/y.db": "nfs4", "/data": "nfs4", "/database/y.db": "ext4", "/data/local/y": "xfs",
        "/with space/y": "lustre", "/": "ext4",
    }  # fmt: skip
    assert {path: mounts.kind_of(path, str(table)) for path in expected} == expected
    assert mounts.kind_of("/data", str(tmp_path / "none")) == ""


@pytest.mark.parametrize("damage", ["garbage", "short", "page"])
def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.db"
    content = {"garbage": b"This is a letter to my aunt. " * 200, "short": b"x", "page": b"\0" * 4096}[damage]
    path.write_bytes(content)
    store = SQLiteStore(path)
    with pytest.raises((CorruptCheckpointError, UnsupportedFormatError), match=r"a\.db"):
        store.summary("r")
    assert isinstance(one(store, batch("r", 0)), CorruptCheckpointError | UnsupportedFormatError)
    store.close()
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with apsw.Connection(str(path)) as connection:
        connection.execute("create table theirs(x)")
    connection.close()
    before = path.read_bytes()
    store = SQLiteStore(path)
    with pytest.raises(UnsupportedFormatError, match="another program"):
        store.read("r")
    store.close()
    assert path.read_bytes() == before


def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    """Also while its write-ahead log waits to be copied."""
    path = tmp_path / "a.db"
    store = SQLiteStore(path)
    one(store, batch("r", 0))
    store.close()
    connection = apsw.Connection(str(path))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.pragma("user_version", 2)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UnsupportedFormatError, match="format 2") as caught:
        store.summary("r")
    assert (caught.value.found, caught.value.supported) == (2, 1)
    refused = one(store, batch("r", 1))
    assert isinstance(refused, UnsupportedFormatError)
    store.close()
    assert path.read_bytes() == before


def test_a_database_deleted_in_use_is_an_error_and_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = SQLiteStore(path)
    one(store, batch("r", 0))
    for name in os.listdir(tmp_path):
        os.unlink(tmp_path / name)
    refused = one(store, batch("r", 1))
    assert isinstance(refused, StoreUnavailableError)
    assert "deleted" in str(refused)
    with pytest.raises(StoreUnavailableError, match="deleted"):
        store.read("r")
    assert not path.exists()
    store.close()
    assert store.summary("r") is None  # closing means: begin with what is there now
    store.close()


def settle(store: SQLiteStore, run_id: str = "r") -> None:
    """Read until one look at the directory says that nothing in it was replaced."""
    until = time.monotonic() + 20
    while store._connections.place.quiet is None:
        store.summary(run_id)
        assert time.monotonic() < until


@pytest.mark.parametrize("what", ["deleted", "replaced", "log removed", "directory replaced"])
def test_what_is_taken_away_is_noticed_once_nothing_has_changed_for_a_while(tmp_path: Path, what: str) -> None:
    """Where nothing changes one look at the directory is enough, and the first change is seen by the next commit."""
    directory = tmp_path / "d"
    store = SQLiteStore(directory / "a.db")
    one(store, batch("r", 0))
    settle(store)
    assert one(store, batch("r", 1)) == 2
    assert store._connections.place.quiet is not None
    if what == "directory replaced":
        directory.rename(tmp_path / "away")
        shutil.copytree(tmp_path / "away", directory)
    elif what == "replaced":
        other = SQLiteStore(tmp_path / "b.db")
        one(other, batch("theirs", 0))
        other.close()
        shutil.move(tmp_path / "b.db", directory / "a.db")
    else:
        for name in ("a.db-wal", "a.db-shm") if what == "log removed" else os.listdir(directory):
            os.unlink(directory / name)
    result = one(store, batch("r", 2))
    if what == "log removed":  # it was brought into the database, where whoever comes next finds it
        assert result == 3
    else:
        assert isinstance(result, StoreUnavailableError)
        with pytest.raises(StoreUnavailableError, match="while it was in use"):
            store.read("r")
    store.close()
    if what == "log removed":
        with SQLiteStore(directory / "a.db") as found:
            assert len(found.read("r")) == 3


def test_where_the_directory_does_not_tell_of_changes_every_name_is_looked_at(tmp_path: Path) -> None:
    """As on FAT, whose directories have no times: a quiet one is never believed."""
    store = SQLiteStore(tmp_path / "a.db", file_system=lambda path: "vfat")
    one(store, batch("r", 0))
    with SQLiteStore(tmp_path / "other.db") as other:
        one(other, batch("r", 0))
        settle(other)  # long enough
    store.summary("r")
    assert store._connections.place.quiet is None
    os.unlink(store.path)
    refused = one(store, batch("r", 1))
    assert isinstance(refused, StoreUnavailableError)
    store.close()


def test_a_database_replaced_in_use_is_an_error_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store, theirs = SQLiteStore(path), SQLiteStore(tmp_path / "b.db")
    one(store, batch("r", 0))
    one(theirs, batch("theirs", 0))
    theirs.close()
    shutil.move(tmp_path / "b.db", path)
    refused = one(store, batch("r", 1))
    assert isinstance(refused, StoreUnavailableError)
    assert "replaced" in str(refused)
    with pytest.raises(StoreUnavailableError, match="replaced"):
        store.summary("r")
    store.close()
    (tmp_path / "a.db-wal").unlink(missing_ok=True)
    (tmp_path / "a.db-shm").unlink(missing_ok=True)
    assert store.summary("r") is None
    assert store.summary("theirs") is not None
    store.close()


def test_a_place_that_cannot_hold_a_database_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "directory").mkdir()
    for path in (tmp_path / "file" / "a.db", tmp_path / "directory", Path("/proc/none/a.db")):
        store = SQLiteStore(path)
        with pytest.raises(StoreUnavailableError) as caught:
            store.summary("r")
        assert str(path) in str(caught.value)
        assert caught.value.__cause__ is not None
        assert isinstance(one(store, batch("r", 0)), StoreUnavailableError)
        store.close()


def test_a_lock_that_is_held_too_long_is_unavailable_and_nothing_is_lost(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.db", busy_timeout=0.05)
    one(store, batch("r", 0))
    holder = apsw.Connection(store.path)
    holder.execute("begin immediate")
    refused = store.commit([batch("r", 1), batch("s", 0)])
    assert all(isinstance(result, StoreUnavailableError) for result in refused)
    assert "locked" in str(refused[0])
    assert len(store.read("r")) == 1  # reading does not wait
    holder.execute("rollback")
    holder.close()
    assert one(store, batch("r", 1)) == 2
    store.close()


def test_waiting_for_a_lock_can_be_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLiteStore(tmp_path / "a.db")
    one(store, batch("r", 0))
    holder = apsw.Connection(store.path)
    holder.execute("begin immediate")

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tau.stores.sqlite.connection.time.sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.commit([batch("r", 1)])
    holder.execute("rollback")
    holder.close()
    assert one(store, batch("r", 1)) == 2
    store.close()


def test_an_interrupted_transaction_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLiteStore(tmp_path / "a.db")
    one(store, batch("r", 0))

    def interrupted(summary: Any) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tau.stores.sqlite.store.pack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.commit([batch("r", 1)])
    assert one(store, batch("r", 1)) == 2
    assert len(store.read("r")) == 2
    store.close()


def test_a_directory_that_an_interrupt_left_open_is_closed_with_the_next_connection(tmp_path: Path) -> None:
    """Ctrl-C may come between the opening of a descriptor and the `with` that would close it."""
    with SQLiteStore(tmp_path / "a.db") as store:
        one(store, batch("r", 0))
    left = Descriptor(str(tmp_path), os.O_RDONLY)
    number = left.number
    del left
    with SQLiteStore(tmp_path / "a.db") as store:
        assert store.summary("r") is not None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_one_batch_that_is_too_much_does_not_fail_its_neighbours(tmp_path: Path) -> None:
    """The database is full for the large one only."""
    store = SQLiteStore(tmp_path / "a.db")
    one(store, batch("a", 0))
    assert store._connections.writer is not None
    store._connections.writer.pragma("max_page_count", 60)
    results = store.commit([batch("a", 1), batch("b", 0, blobs=[(b"x", bytes(1_000_000))]), batch("c", 0)])
    assert (results[0], results[2]) == (2, 1)
    assert isinstance(results[1], StoreError)
    assert type(results[1]).__name__ == "StoreFullError"
    assert store.summary("b") is None
    assert store.blobs("b", [b"x"]) == {}
    store.close()


def test_a_lease_is_measured_by_a_clock_that_only_grows(tmp_path: Path) -> None:
    now = [1000.0]
    store = SQLiteStore(tmp_path / "a.db", clock=lambda: now[0])
    one(store, batch("r", 0, owner=owner("a", lease=60.0)))

    def left() -> float | None:
        lease = store.lease("r")
        assert lease is not None
        return lease.expires_in

    now[0] += 15.0
    assert left() == 45.0
    now[0] += 60.0
    assert left() == -15.0
    assert store.renew("r", "a", 60.0)
    assert left() == 60.0
    now[0] = 3.0  # another clock than the one that it was measured by
    assert left() is None
    store.close()


def _of_another_boot(path: Path, boot: str, machine: str) -> Lease | None:
    store = SQLiteStore(path)
    one(store, batch("r", 0, owner=replace(owner("a", lease=60.0), host=machine)))
    store.close()
    with apsw.Connection(str(path)) as connection:
        connection.execute("update runs set boot = ?, expires = 1", (boot,))
    connection.close()
    lease = store.lease("r")
    assert store.renew("r", "a", 60.0), "its owner is of this clock"
    renewed = store.lease("r")
    assert renewed is not None
    assert renewed.expires_in is not None
    store.close()
    return lease


@pytest.mark.parametrize(("boot", "machine"), [("yesterday", "another"), ("", os.uname().nodename), ("", "another")])
def test_a_lease_of_another_clock_or_an_unknown_one_does_not_run_out(tmp_path: Path, boot: str, machine: str) -> None:
    lease = _of_another_boot(tmp_path / "a.db", boot, machine)
    assert lease is not None
    assert (lease.nonce, lease.expires_in) == ("a", None)


def test_a_lease_of_an_earlier_boot_of_this_machine_ran_out(tmp_path: Path) -> None:
    lease = _of_another_boot(tmp_path / "a.db", "yesterday", os.uname().nodename)
    assert lease is not None
    assert lease.expires_in == -60.0


def test_a_directory_whose_name_is_not_utf_8_is_refused_with_the_remedy_that_works(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(directory)
    place = os.fsdecode(directory)
    store = SQLiteStore(f"{place}/runs.db")
    with pytest.raises(StoreUnavailableError) as caught:
        store.summary("r")
    for refused in (one(store, batch("r", 0)), caught.value):
        assert isinstance(refused, StoreUnavailableError)
        assert "not UTF-8" in str(refused)
        str(refused).encode()
    assert os.listdir(directory) == []
    files = FileStore(f"{place}/runs")
    assert one(files, batch("r", 0)) == 1
    files.close()


def test_what_never_was_a_database_is_not_to_be_restored_only(tmp_path: Path) -> None:
    (tmp_path / "graph.py").write_text("import tau\n" * 100)
    with pytest.raises(CorruptCheckpointError, match="name another file"):
        SQLiteStore(tmp_path / "graph.py").summary("r")


def test_a_listing_holds_up_no_commit_and_reads_no_more_than_it_shows(tmp_path: Path) -> None:
    """It takes summaries apart when it has read them, and a commit comes in between."""
    store = SQLiteStore(tmp_path / "a.db")
    store.commit([batch(f"r{number}", 0, status="finished") for number in range(50)])
    inside: list[object] = []

    def read(connection: apsw.Connection) -> None:
        thread = threading.Thread(target=lambda: inside.append(one(store, batch("new", 0))))
        thread.start()
        thread.join(20)

    store._connections.read(read)
    assert inside == [1]
    assert len(store.select(Query(limit=3))) == 3
    assert len(store.select(Query())) == 51
    store.close()
