"""What large values cost: one that nobody reads, a list that grows, a tuple deep inside."""

from __future__ import annotations

import os
import random
import statistics
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import CHUNK, Figure, Turns, kilobyte, looping, microseconds, one_key, size_of

import values
from stores import bare_sqlite
from tau import State
from tau.stores.sqlite import SQLiteStore
from tau.values import encode

ROUNDS = 5
APPENDS = 1_000


def unread(root: Path) -> Iterator[Figure]:
    """10 MB in the state that no node looks at, on SQLite."""
    for name, value in (("bytes", os.urandom(10_000_000)), ("a nested dict", values.nested(10))):
        commit = bare_sqlite(root / f"bare {name}.db")
        data = encode(value)
        first, base, steps, plain, bare = [], [], [], [], []
        for number in range(ROUNDS):
            store = SQLiteStore(root / f"{name} {number}.db")
            base.append(first_step({}, store, plain))
            first.append(first_step({"large": value}, store, steps))
            bare.append(timed(commit, data))
            store.close()
        more, least = statistics.median(first) - statistics.median(base), min(first) - min(base)
        note = f"least {least * 1000:.0f} ms; its {len(data) / 1e6:.1f} MB committed bare: {min(bare) * 1000:.0f} ms"
        yield Figure(f"10 MB unread, {name}: once", more * 1000, 100.0, "ms", note, best=least * 1000)
        each, without = microseconds(steps) / 1000, microseconds(plain) / 1000
        note = f"{each:.2f} and {without:.2f} ms"
        yield Figure(f"10 MB unread, {name}: a step more", each - without, 0.1, "ms", note)
        yield Figure(f"10 MB unread, {name}: store", store_size(root / f"{name}.db", value), 11.5, "MB", "and its log")


def store_size(path: Path, value: Any) -> float:
    """Megabytes of database and log after 50 steps, before the run ends or when it has."""
    sizes = []

    def work(state: State) -> dict[str, Any]:
        sizes.append(size_of(path))
        return one_key(state)

    store = SQLiteStore(path)
    looping(Turns(work, CHUNK), CHUNK, store).execute(kilobyte() | {"large": value})
    return max(sizes[-1], size_of(path))


def first_step(extra: dict[str, Any], store: SQLiteStore, steps: list[float]) -> float:
    """Seconds until the first node starts; the next steps are added to ``steps``."""
    turns = Turns(one_key, 2 * CHUNK)
    graph = looping(turns, 2 * CHUNK, store)
    began = time.perf_counter()
    graph.execute(kilobyte() | extra)
    steps += turns.walls
    return turns.entered - began


def timed(commit: Any, data: bytes) -> float:
    began = time.perf_counter()
    commit(data)
    return time.perf_counter() - began


def growing(root: Path) -> Iterator[Figure]:
    """A list that gets 1 kB of random text a step, read and set each time, in turns with bare commits of 1.3 kB."""
    letters = string.ascii_letters + string.digits + string.punctuation + " "
    texts = iter(["".join(random.choices(letters, k=1000)) for _ in range(APPENDS + 1)])

    def append(state: State) -> dict[str, Any]:
        return {"list": [*state["list"], next(texts)]}

    path = root / "growing.db"
    store = SQLiteStore(path)
    commit = bare_sqlite(root / "bare.db")
    turns = Turns(append, APPENDS, lambda _: commit(os.urandom(1300)))
    looping(turns, APPENDS, store).execute({"list": []})
    beyond = sum(turns.walls) - sum(turns.bare_walls)
    cpu = (statistics.mean(turns.cpus) - statistics.mean(turns.bare_cpus)) * APPENDS
    note = f"CPU beyond: {cpu:.2f} s; {sum(turns.walls):.2f} and {sum(turns.bare_walls):.2f} s"
    yield Figure("list of 1,000 x 1 kB, beyond the commits", beyond, 1.0, "s", note, best=cpu)
    yield Figure("list of 1,000 x 1 kB, SQLite with its log", size_of(path), 6.5, "MB")


def tuples(root: Path) -> Iterator[Figure]:
    """One tuple among 500 records."""
    records = [values.record(number) for number in range(500)]
    with_one = [*records[:250], {**values.record(250), "values": [1.5, (2.5, 3)]}, *records[251:]]
    found = values.ratio(lambda: encode(with_one), lambda: encode(records))
    yield Figure("500 records, a tuple in one: encode", found, 2.0, "x")
