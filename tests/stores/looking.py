"""A process that looks at its own database by other means than tau: ``python looking.py PATH NAME ROUNDS WAY WHEN``.

It tells what was acknowledged, a line a run, and is killed at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing

from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.batches import batch, one


def by_sqlite(path: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("select count(*) from runs").fetchone()


def by_pandas(path: str) -> None:
    import pandas

    with closing(sqlite3.connect(path)) as database:
        pandas.read_sql("select run_id, status from runs", database)


def by_copying(path: str) -> None:
    for end in ("", "-wal", "-shm"):
        if os.path.exists(path + end):
            shutil.copy(path + end, f"{path}.{os.getpid()}.copy{end}")


def by_reading(path: str) -> None:
    for end in ("", "-wal", "-shm"):
        if os.path.exists(path + end):
            with open(path + end, "rb") as file:
                file.read()


WAYS: dict[str, Callable[[str], None]] = {
    "sqlite3": by_sqlite, "pandas": by_pandas, "copy": by_copying, "read": by_reading,
}  # fmt: skip


def main(path: str, name: str, rounds: int, way: str, when: str) -> None:
    store = SQLiteStore(path)
    look, done = WAYS[way], threading.Event()
    assert store.summary("nobody") is None

    def look_on() -> None:
        while not done.is_set():
            look(path)

    watcher = threading.Thread(target=look_on, daemon=True)
    if when == "meanwhile":
        watcher.start()
    for number in range(rounds):
        run_id = f"{name}-{number}"
        result = one(store, batch(run_id, 0, records=[os.urandom(20_000)]))
        assert result == 1, result
        print(run_id, flush=True)
        if when == "between":
            look(path)
            assert store.summary(run_id) is not None
    done.set()
    if when == "meanwhile":
        watcher.join()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
