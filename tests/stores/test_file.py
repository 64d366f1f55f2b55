"""The file store: names, what dead writers leave, what vanishes, what is damaged."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filling import directory, fill
from hypothesis import given
from hypothesis import strategies as st

from tau.errors import CorruptCheckpointError, StoreUnavailableError, UnsupportedFormatError
from tau.stores import names
from tau.stores.contract import Query
from tau.stores.disk import _open
from tau.stores.file import FileStore
from tau.stores.file.run_directory import RunDirectory
from tau.testing.store_contract.batches import batch, one, owner

pytestmark = pytest.mark.disk

# Names

run_ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=1024)


@given(st.sets(run_ids, min_size=2, max_size=2))
def test_no_two_run_ids_share_a_directory(pair: set[str]) -> None:
    """Also where the file system ignores case."""
    one_name, other_name = map(names.directory_of, pair)
    assert one_name.lower() != other_name.lower()
    for name in (one_name, other_name):
        assert name.isascii()
        assert len(name) <= names.LONGEST
        assert not {"/", "\\", ".", " ", ":", "*", "?"} & set(name)
        assert name[:2] in ("r-", "h-")


@given(st.sampled_from("abcXYZ01%.-_/~ é"), st.integers(0, 400))
def test_ids_of_any_length_keep_apart(letter: str, length: int) -> None:
    assert names.directory_of(letter * (length + 1)) != names.directory_of(letter * (length + 2))


def test_all_files_are_private(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    one(store, batch("r", 0, blobs=[(b"x", bytes(300_000))], owner=owner("a")))
    store.renew("r", "a", 1.0)
    made = [tmp_path / "store", *(tmp_path / "store").rglob("*")]
    assert len(made) >= 7
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


# What dead writers leave


@pytest.fixture
def dead() -> str:
    """The name of a temporary file of a process that ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    machine = names.temporary()[1:].partition("-")[0]
    return f"+{machine}-{pid}-abc"


def test_what_a_dead_writer_left_is_cleaned(tmp_path: Path, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the first look at a run that nobody owns; what may still be written is left alone."""
    store = FileStore(tmp_path)
    one(store, batch("r", 0))
    pid = dead.split("-")[1]
    mine = names.temporary()
    interrupted = names.temporary()
    foreign = f"+0123abcd-{pid}-abc"
    old = f"+0123abcd-{pid}-old"
    taken = f"+0123abcd-{pid}-abc-p0000000000000001"
    monkeypatch.setattr(names, "writing", {mine})
    for name in (dead, mine, interrupted, foreign, old, taken):
        (directory(store) / name).write_bytes(b"half")
    os.utime(directory(store) / old, (1, 1))
    assert FileStore(tmp_path).summary("r") is not None
    assert {name for name in os.listdir(directory(store)) if name[0] == "+"} == {mine, foreign, old}


def test_what_a_writer_elsewhere_left_goes_when_the_name_it_was_to_get_is_taken(tmp_path: Path) -> None:
    """By then it can become nothing any more; no clock is asked."""
    store = FileStore(tmp_path)
    one(store, batch("r", 0, owner=owner("a")))
    pack = f"+0123abcd-{os.getpid()}-abc-p0000000000000002"
    lease = f"+0123abcd-{os.getpid()}-abc"

    def left() -> set[str]:
        return {name for name in os.listdir(directory(store)) if name[0] == "+"}

    for name in (pack, lease):
        (directory(store) / name).write_bytes(b"half")
        os.utime(directory(store) / name, (1, 1))
    with RunDirectory(str(directory(store))) as run:
        run.clean()
        assert left() == {pack, lease}
        assert one(store, batch("r", 1, owner=owner("b"))) == 2
        run.clean()
        assert left() == {lease}


def test_a_commit_whose_file_was_cleaned_away_is_told_that_its_position_is_taken(tmp_path: Path) -> None:
    with RunDirectory(str(tmp_path), "r") as run:
        assert run.publish("p0000000000000001", [b"theirs"])
        assert not run._link("+gone", "p0000000000000001")


def test_what_a_dead_writer_left_in_its_run_is_cleaned_by_the_next_owner(tmp_path: Path, dead: str) -> None:
    """Reading changes nothing while somebody may own the run."""
    store = FileStore(tmp_path)
    one(store, batch("r", 0, owner=owner("a")))
    (directory(store) / dead).write_bytes(b"half")
    heir = FileStore(tmp_path)
    assert heir.summary("r") is not None
    assert (directory(store) / dead).exists()
    assert one(heir, batch("r", 1, owner=owner("b"))) == 2
    assert not (directory(store) / dead).exists()


def test_what_a_dead_writer_left_beside_the_runs_is_cleaned(tmp_path: Path, dead: str) -> None:
    fill(FileStore(tmp_path), 1)
    (tmp_path / dead).write_bytes(b"half")
    assert FileStore(tmp_path).summary("other") is None
    assert sorted(os.listdir(tmp_path)) == ["runs", "tau-store"]


def test_what_a_dead_creator_left_is_cleaned_by_the_one_who_creates_the_store(tmp_path: Path, dead: str) -> None:
    (tmp_path / dead).write_bytes(b"half")
    fill(FileStore(tmp_path), 1)
    assert sorted(os.listdir(tmp_path)) == ["runs", "tau-store"]


def test_what_a_dead_writer_left_of_a_large_blob_is_cleaned(tmp_path: Path, dead: str) -> None:
    """By the first commit of another process."""
    store = FileStore(tmp_path)
    one(store, batch("r", 0, blobs=[(b"x", bytes(300_000))], owner=owner("a")))
    (blobs,) = directory(store).glob("blobs-*")
    (blobs / dead).write_bytes(b"half")
    assert one(FileStore(tmp_path), batch("r", 1)) == 2
    assert [name[0] for name in os.listdir(blobs)] == ["b"]


def test_a_temporary_file_that_could_not_be_removed_goes_when_the_run_ends(tmp_path: Path) -> None:
    """The commit stands all the same."""
    store = FileStore(tmp_path)

    def failing(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", failing)
        assert one(store, batch("r", 0, owner=owner("a"))) == 1
    assert [name for name in os.listdir(directory(store)) if name[0] == "+"]
    assert one(store, batch("r", 1)) == 2
    assert not [name for name in os.listdir(directory(store)) if name[0] == "+"]


def test_an_interrupt_while_a_temporary_file_is_removed_leaves_none(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    fill(store, 1)
    real, count = os.unlink, itertools.count()

    def interrupted(*args: Any, **options: Any) -> None:
        if next(count) == 0:
            raise KeyboardInterrupt
        real(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.commit([batch("r", 1)])
    assert not [name for name in os.listdir(directory(store)) if name[0] == "+"]
    assert not names.writing


def test_an_open_directory_that_nobody_holds_any_more_is_closed(tmp_path: Path) -> None:
    """Ctrl-C can come before the ``with`` that would close it."""
    store = FileStore(tmp_path)
    fill(store, 1)
    held = RunDirectory(str(directory(store)))
    number = held.descriptor
    os.fstat(number)
    del held
    with RunDirectory(str(directory(store))):
        assert len(_open) == 1
    assert not _open
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_link_that_was_not_made_although_the_system_said_so_is_an_error(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    fill(store, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", lambda *_, **__: None)
        for refused in (one(store, batch("r", 1)), one(store, batch("new", 0))):
            assert isinstance(refused, StoreUnavailableError)
            assert "not there" in str(refused)
    assert one(store, batch("r", 1)) == 2


def test_a_commit_syncs_twice(tmp_path: Path) -> None:
    """The file and its directory; merging adds two more every 64 commits."""
    store = FileStore(tmp_path)
    fill(store, 1)
    real, count = os.fsync, itertools.count()

    def counting(descriptor: int) -> None:
        next(count)
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", counting)
        fill(store, 10, start=1)
    assert next(count) == 20


def test_what_could_not_be_synced_is_synced_before_it_is_believed(tmp_path: Path) -> None:
    """A commit that failed in its last step is in the directory; the next reader makes it durable, or fails as well."""
    store = FileStore(tmp_path)
    fill(store, 1)
    each = batch("r", 1)
    real, count, failing = os.fsync, itertools.count(), True

    def second_fails(descriptor: int) -> None:
        if next(count) and failing:
            raise OSError(5, "Input/output error")
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", second_fails)
        assert isinstance(one(store, each), StoreUnavailableError)
        with pytest.raises(StoreUnavailableError):
            store.read("r")
        failing = False
        before = next(count)
        assert store.read("r", 1) == [(2, each.records[0])]
        assert next(count) - before == 3
    assert isinstance(one(store, batch("r", 1)), Exception)
    assert one(store, batch("r", 2)) == 3


def test_a_failed_commit_leaves_no_temporary_file(tmp_path: Path) -> None:
    for call in ("write", "fsync", "link", "listdir"):
        store = FileStore(tmp_path / call)
        fill(store, 1)

        def failing(*_: Any, **__: Any) -> None:
            raise OSError(5, "Input/output error")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, call, failing)
            refused = one(store, batch("r", 1))
        assert isinstance(refused, StoreUnavailableError), call
        assert not [name for name in os.listdir(directory(store)) if name.startswith("+")]
        assert isinstance(store.read("r"), list)


# What vanishes or is damaged


def test_a_directory_removed_in_use_is_an_error_and_not_made_again(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    fill(store, 2)
    shutil.rmtree(store.root)
    refused = one(store, batch("r", 2))
    assert isinstance(refused, StoreUnavailableError)
    assert store.root in str(refused)
    for read in (lambda: store.read("r"), lambda: store.summary("r"), lambda: store.select(Query())):
        with pytest.raises(StoreUnavailableError, match="removed"):
            read()
    assert not os.path.exists(store.root)
    store.close()
    assert store.summary("r") is None


def test_a_run_removed_in_use_is_an_error_and_not_made_again(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    fill(store, 2)
    shutil.rmtree(directory(store))
    refused = one(store, batch("r", 2))
    assert isinstance(refused, StoreUnavailableError)
    assert "r-r" in str(refused)
    assert not directory(store).exists()


def test_a_planted_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    fill(store, 1)
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(outside, directory(store, "evil"))
    refused = one(store, batch("evil", 0))
    assert isinstance(refused, StoreUnavailableError)
    assert list(outside.iterdir()) == []
    (outside / "pack").write_bytes((directory(store) / names.slot(1)).read_bytes())
    os.unlink(directory(store) / names.slot(1))
    os.symlink(outside / "pack", directory(store) / names.slot(1))
    with pytest.raises(StoreUnavailableError):
        store.read("r")


def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "tau-store").write_bytes(b"tau file store 2\n")
    store = FileStore(tmp_path)
    with pytest.raises(UnsupportedFormatError, match="store 2"):
        store.read("r")
    assert isinstance(one(store, batch("r", 0)), UnsupportedFormatError)
    assert os.listdir(tmp_path) == ["tau-store"]


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    fill(store, 100)
    for name in sorted(os.listdir(directory(store)))[-20:-2:5]:
        kept = (directory(store) / name).read_bytes()
        os.unlink(directory(store) / name)
        with pytest.raises(CorruptCheckpointError, match="missing"):
            store.read("r")
        (directory(store) / name).write_bytes(kept)
    assert len(store.read("r")) == 100


def test_files_of_another_run_or_position_are_noticed(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    fill(store, 3)
    fill(store, 3, run_id="s")
    mine, theirs = directory(store) / names.slot(3), directory(store, "s") / names.slot(3)
    good = mine.read_bytes()
    for foreign in (theirs.read_bytes(), (directory(store) / names.slot(2)).read_bytes()):
        mine.write_bytes(foreign)
        with pytest.raises(CorruptCheckpointError, match=names.slot(3)):
            store.read("r")
        with pytest.raises(CorruptCheckpointError, match=names.slot(3)):
            store.summary("r")
    mine.write_bytes(good)
    assert len(store.read("r")) == 3


def test_every_flip_and_every_cut_is_noticed(tmp_path: Path) -> None:
    """In commits, covers and files of large blobs: right bytes or a typed error that names the file."""
    store = FileStore(tmp_path)
    blobs = {b"small": b"s" * 50, b"large": os.urandom(130_000)}
    one(store, batch("r", 0, 3, blobs=list(blobs.items()), owner=owner()))
    fill(store, 5, start=3)
    with RunDirectory(str(directory(store)), "r") as run:
        run.merge()
    right = store.read("r"), store.blobs("r", blobs), store.summary("r")
    assert right[1] == blobs
    chance = random.Random(1)
    for path in [path for path in directory(store).rglob("*") if path.is_file()]:
        good = path.read_bytes()
        small = len(good) < 5000
        flips = (
            range(0, len(good) * 8, 3)
            if small
            else [*range(200), *(chance.randrange(len(good) * 8) for _ in range(50))]
        )
        cuts = range(len(good)) if small else [0, 1, 20, 100, len(good) - 1]
        for damaged in itertools.chain((flipped(good, bit) for bit in flips), (good[:cut] for cut in cuts)):
            path.write_bytes(damaged)
            found = attempt(store, blobs)
            assert found == right or (path.name in found and "damaged" in found) or "format" in found, path
        path.write_bytes(good)
    assert attempt(store, blobs) == right


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def attempt(store: FileStore, digests: Any) -> Any:
    try:
        return store.read("r"), store.blobs("r", digests), store.summary("r")
    except (CorruptCheckpointError, UnsupportedFormatError) as error:
        return str(error)


FULL_DISK = """
import resource, sys
from tau.errors import StoreFullError
from tau.stores.file import FileStore
from tau.testing.store_contract.batches import batch, one, owner

store = FileStore(sys.argv[1])
assert one(store, batch("r", 0, owner=owner("a"))) == 1
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))  # every write is refused, as on a full disk
assert isinstance(one(store, batch("r", 1, owner=owner("a"))), StoreFullError)
read = len(store.read("r")), store.summary("r").position, store.lease("r").nonce, dict(store.blobs("r", [b"x"]))
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
print(read, one(store, batch("r", 1, owner=owner("a"))), len(store.read("r")))
"""


def test_a_full_disk_can_be_read_by_the_process_whose_commit_it_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "store")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("(1, 1, 'a', {}) 2 2\n", "")
