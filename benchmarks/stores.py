"""What a store adds to the bare system calls under it, interleaved in one process: medians, and CPU time of the thread.

    python benchmarks/stores.py [commits] [directory]

The directory must lie on a disk that counts; a file system in memory syncs nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from tau.stores.contract import Batch, Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.batches import batch, owner

RECORD = 300


class Timer:
    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def __call__(self, work: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        work()
        self.cpu.append(time.thread_time() - cpu)
        self.wall.append(time.perf_counter() - wall)

    def us(self) -> tuple[float, float]:
        return statistics.median(self.wall) * 1e6, statistics.median(self.cpu) * 1e6


def next_batch(run_id: str, expected: int, size: int = RECORD) -> Batch:
    return batch(run_id, expected, [os.urandom(size)], owner=owner())


def bare_sqlite(path: Path) -> Callable[[bytes], object]:
    connection = apsw.Connection(str(path))
    list(connection.execute("pragma journal_mode = wal"))
    list(connection.execute("pragma synchronous = full"))
    connection.execute("create table t(a integer primary key, b blob)")
    return lambda data: connection.execute("insert into t(b) values(?)", (data,))


def bare_file(path: Path) -> Callable[[bytes], object]:
    path.mkdir()
    numbers = iter(range(10**9))

    def commit(data: bytes) -> None:
        temporary, name = path / "t", path / f"{next(numbers):016d}"
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(descriptor, data)
        os.fsync(descriptor)
        os.close(descriptor)
        os.link(temporary, name)
        os.unlink(temporary)
        directory = os.open(path, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    return commit


def compare(name: str, store: Store, bare: Callable[[bytes], object], commits: int) -> None:
    ours, theirs = Timer(), Timer()
    for number in range(commits):
        each = next_batch("run", number)
        ours(lambda each=each: store.commit([each]))
        theirs(lambda each=each: bare(each.records[0]))
    assert len(store.read("run")) == commits
    (wall, cpu), (bare_wall, bare_cpu) = ours.us(), theirs.us()
    mean = statistics.mean(ours.wall) / statistics.mean(theirs.wall)
    print(
        f"{name}: commit {wall:.0f} us, bare {bare_wall:.0f} us: {wall / bare_wall:.2f} x (means {mean:.2f} x); "
        f"CPU {cpu:.0f} us, bare {bare_cpu:.0f} us: {cpu - bare_cpu:+.0f} us"
    )


def group(store: Store, runs: int, rounds: int) -> None:
    timer = Timer()
    for number in range(rounds):
        batches = [next_batch(f"group {run}", number) for run in range(runs)]
        timer(lambda batches=batches: store.commit(batches))
    wall, cpu = timer.us()
    print(f"SQLite: {runs} runs in one commit: {wall / runs:.1f} us each, CPU {cpu / runs:.1f} us each")


def sizes(make: Callable[[Path], Store], name: str, root: Path) -> None:
    def size(path: Path) -> float:
        return sum(
            f.stat().st_size for f in [path.parent / (path.name + end) for end in ("", "-wal")] if f.is_file()
        ) + sum(f.stat().st_size for f in path.rglob("*") if f.is_file())

    path = root / f"growing {name}"
    store = make(path)
    for number in range(1000):
        store.commit([batch("run", number, [os.urandom(300)], blobs=[(os.urandom(32), os.urandom(1024))])])
    print(f"{name}: 1,000 commits with a blob of 1 kB: {size(path) / 1e6:.1f} MB while open")
    path = root / f"large {name}"
    store = make(path)
    timer = Timer()
    large = os.urandom(10_000_000)
    timer(lambda: store.commit([batch("run", 0, blobs=[(os.urandom(32), large)])]))
    for number in range(1, 51):
        store.commit([next_batch("run", number)])
    print(
        f"{name}: a blob of 10 MB: {timer.us()[0] / 1000:.0f} ms; and 50 commits: {size(path) / 1e6:.1f} MB while open"
    )


def resume(make: Callable[[Path], Store], name: str, path: Path) -> None:
    for commits in (1000, 10_000):
        store = make(path / f"{name} {commits}")
        digest = os.urandom(32)
        store.commit([batch("run", 0, blobs=[(digest, os.urandom(1000))], owner=owner())])
        for number in range(1, commits):
            store.commit([next_batch("run", number)])
        store.close()
        timer = Timer()

        def first(store: Store = store, commits: int = commits, digest: bytes = digest) -> None:
            found = store.summary("run")
            assert found is not None
            store.read("run", found.position - 5)
            assert store.blobs("run", [digest])
            store.commit([next_batch("run", commits)])

        timer(first)
        print(
            f"{name}: open, summary, tail, one old blob, claim after {commits} commits: {timer.us()[0] / 1000:.1f} ms"
        )


def main() -> None:
    commits = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    root = Path(tempfile.mkdtemp(dir=sys.argv[2] if len(sys.argv) > 2 else "."))
    try:
        compare("memory", MemoryStore(), lambda data: None, commits)
        compare("SQLite", SQLiteStore(root / "a.db"), bare_sqlite(root / "bare.db"), commits)
        group(SQLiteStore(root / "group.db"), 200, 20)
        compare("file", FileStore(root / "files"), bare_file(root / "bare"), commits)
        for name, make in (("SQLite", SQLiteStore), ("file", FileStore)):
            sizes(make, name, root)
            if commits >= 1000:
                resume(make, name, root)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
