"""The index of a file store: a listing reads what has not changed from it, and is never wrong for it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tau.stores import names
from tau.stores.contract import Query, Summary
from tau.stores.file import FileStore
from tau.stores.file.index import SETTLED, Index
from tau.stores.file.run_directory import RunDirectory
from tau.testing.store_contract.batches import batch, one, owner

RUNS = 48


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store whose runs have not changed for a while."""
    root = tmp_path_factory.mktemp("index") / "store"
    with FileStore(root) as store:
        for number in range(RUNS):
            for position in range(3):
                one(store, batch(f"r{number}", position, owner=owner() if number % 4 == 0 else None))
        assert listed(root) == truth(root)
        assert not (root / "index").exists()  # nothing has settled yet
        newest = max((root / "runs" / f"r-r{number}").stat().st_ctime_ns for number in range(RUNS))
        clock, waiting = Index(str(root), str(root / "runs")), threading.Event()
        while (now := clock._now()) is not None and now <= newest + SETTLED:
            waiting.wait(0.05)
        assert listed(root) == truth(root)
        assert (root / "index").exists()
        yield root


def index(root: Path) -> Index:
    return Index(str(root), str(root / "runs"))


def ordered(summaries: list[Summary]) -> list[Summary]:
    return sorted(summaries, key=lambda summary: summary.run_id)


def listed(root: Path) -> list[Summary]:
    """What another process is told."""
    return ordered(index(root).summaries())


def truth(root: Path) -> list[Summary]:
    """What the runs themselves say: a listing that has no index and cannot make one."""
    return ordered(Index(str(root / "nowhere"), str(root / "runs")).summaries())


def marked(root: Path) -> int:
    """How many runs are read from the index: each entry is given a mark, and then put back."""
    one = index(root)
    entries = list(one._read().values())
    one._write([replace(entry, summary=replace(entry.summary, graph="from the index")) for entry in entries])
    found = sum(summary.graph == "from the index" for summary in listed(root))
    one._write(entries)
    return found


def test_a_listing_reads_what_has_not_changed_from_the_index(root: Path) -> None:
    assert marked(root) >= RUNS - 20
    assert len(FileStore(root).select(Query(limit=5))) == 5


def append(root: Path, run_id: str) -> None:
    with FileStore(root) as store:
        one(store, batch(run_id, 3))


def begin_anew(root: Path, run_id: str) -> None:
    with FileStore(root) as store:
        store.delete(run_id)
        summary = store.summary(run_id)
        one(store, batch(run_id, summary.position if summary is not None else 0))


def merge(root: Path, run_id: str) -> None:
    with RunDirectory(str(root / "runs" / names.directory_of(run_id)), run_id) as run:
        run.merge()


def swap(root: Path, run_id: str) -> None:
    mine, other = (root / "runs" / names.directory_of(one) for one in (run_id, "r47"))
    mine.rename(root / "aside")
    other.rename(mine)
    (root / "aside").rename(other)


def newest_pack(root: Path, run_id: str) -> Path:
    folder = root / "runs" / names.directory_of(run_id)
    return folder / names.packs(os.listdir(folder))[-1]


def damage(root: Path, run_id: str) -> None:
    """In place, with the size and times that it had."""
    path = newest_pack(root, run_id)
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(20)
        file.write(b"\xff" * 8)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def restore(root: Path, run_id: str) -> None:
    folder = root / "runs" / names.directory_of(run_id)
    shutil.copytree(folder, root / "copy")
    shutil.rmtree(folder)
    (root / "copy").rename(folder)


CHANGES: dict[str, Callable[[Path, str], object]] = {
    "a commit": append,
    "a deletion": lambda root, run_id: FileStore(root).delete(run_id),
    "a deletion that leaves the summary": lambda root, run_id: FileStore(root).delete(run_id, keep_summary=True),
    "begun anew": begin_anew,
    "merged": merge,
    "two runs that change places": swap,
    "damage": damage,
    "the newest pack removed": lambda root, run_id: newest_pack(root, run_id).unlink(),
    "a directory put back from a copy": restore,
    "a directory removed": lambda root, run_id: shutil.rmtree(root / "runs" / names.directory_of(run_id)),
    "a file for a directory": lambda root, run_id: (
        shutil.rmtree(root / "runs" / names.directory_of(run_id)),
        (root / "runs" / names.directory_of(run_id)).touch(),
    ),
}


@pytest.mark.parametrize("number", range(len(CHANGES)), ids=list(CHANGES))
def test_every_change_is_seen(root: Path, number: int) -> None:
    run_id = f"r{4 * number + 1}"
    [*CHANGES.values()][number](root, run_id)
    after = listed(root)
    assert after == truth(root)
    assert listed(root) == after
    for _ in range(3):  # at once, while times may still be the same
        with FileStore(root) as store:
            position = store.summary("r2")
            assert position is not None
            one(store, batch("r2", position.position))
        assert listed(root) == truth(root)


@pytest.mark.parametrize("size", [0, 5, 11, 12, 40, 400, -1])
def test_an_index_that_is_not_whole_counts_for_nothing(root: Path, size: int) -> None:
    data = (root / "index").read_bytes()
    (root / "index").write_bytes(data[:size])
    assert marked(root) == 0
    (root / "index").write_bytes(data[:size])
    assert listed(root) == truth(root)
    (root / "index").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert index(root)._read() == {}
    assert listed(root) == truth(root)
    assert (root / "index").stat().st_size > 400  # it was made anew


def in_child(work: Callable[[], object]) -> int:
    """The exit code of a child that does this, negative where a signal ended it."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_where_nothing_can_be_written_a_listing_is_the_same(root: Path) -> None:
    data = (root / "index").read_bytes()
    (root / "index").unlink()

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        assert listed(root) == truth(root)

    assert in_child(full) == 0
    assert not (root / "index").exists()
    (root / "index").mkdir()
    assert listed(root) == truth(root)
    (root / "index").rmdir()
    os.mkfifo(root / "index")
    assert listed(root) == truth(root)
    (root / "index").unlink(missing_ok=True)
    (root / "elsewhere").write_bytes(data)
    (root / "index").symlink_to(root / "elsewhere")
    assert index(root)._read() == {}
    assert listed(root) == truth(root)
    assert (root / "elsewhere").read_bytes() == data


def test_a_listing_that_is_killed_leaves_an_index_that_is_whole_or_none(root: Path) -> None:
    expected = truth(root)

    def again() -> None:
        os.write(write, b"x")
        while True:
            (root / "index").unlink(missing_ok=True)
            index(root).summaries()

    for turn in range(20):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            try:
                again()
            finally:
                os._exit(1)
        os.read(read, 1)
        for _ in range(turn):
            listed(root)  # goes on beside it
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)
        assert listed(root) == expected
    with FileStore(root) as store:  # which removes what they left
        store.select(Query())
    assert [name for name in os.listdir(root) if name.startswith(names.TEMPORARY)] == []
