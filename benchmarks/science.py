"""What arrays and tables cost: a table beside Arrow IPC made bare, an array that nobody reads, and one that is read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from measure import CHUNK, Figure, Turns, kilobyte, looping, microseconds, one_key

from tau import State
from tau.stores.sqlite import SQLiteStore
from tau.values import decode, encode

ROWS = 20_000
ROUNDS = 100
MEGABYTES = 100


def weather() -> pd.DataFrame:
    """Twenty thousand rows: a time, two texts, three numbers, a truth, categories."""
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "time": pd.date_range("1960-01-01", periods=ROWS, freq="h"),
            "station": random.choice(["mlo", "brw", "spo", "smo"], ROWS),
            "note": [f"observation {number}" for number in range(ROWS)],
            "co2": random.normal(400, 5, ROWS),
            "temperature": random.normal(15, 8, ROWS),
            "count": random.integers(0, 24, ROWS),
            "good": random.random(ROWS) > 0.1,
            "kind": pd.Categorical(random.choice(["flask", "in situ"], ROWS)),
        }
    )


def write_bare(frame: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(frame)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_bare(data: bytes) -> pd.DataFrame:
    return pa.ipc.open_stream(data).read_all().to_pandas()


def in_turns(ours: Callable[[], Any], bare: Callable[[], Any]) -> tuple[float, float]:
    """Medians in milliseconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for spent, work in zip(times, (ours, bare), strict=True):
            began = time.perf_counter()
            work()
            spent.append(time.perf_counter() - began)
    return statistics.median(times[0]) * 1000, statistics.median(times[1]) * 1000


def science(root: Path) -> Iterator[Figure]:
    frame = weather()
    data, bare = encode(frame), write_bare(frame)
    pd.testing.assert_frame_equal(decode(data), frame)
    for what, ours, theirs in (
        ("encode", lambda: encode(frame), lambda: write_bare(frame)),
        ("decode", lambda: decode(data), lambda: read_bare(bare)),
    ):
        spent, beside = in_turns(ours, theirs)
        note = f"{spent:.2f} and {beside:.2f} ms; {len(data) / 1e6:.2f} and {len(bare) / 1e6:.2f} MB"
        yield Figure(f"DataFrame of 20,000 rows, {what} beside Arrow IPC", spent / beside, 2.0, "x", note)
    yield from large(root)


def large(root: Path) -> Iterator[Figure]:
    """An array of 100 MB on SQLite: what a step costs more where nobody reads it, and what reading it takes."""
    array = np.random.default_rng(2).normal(size=MEGABYTES * 125_000)
    steps = {}
    for name, given in (("with", {"array": array}), ("without", {})):
        turns = Turns(one_key, 4 * CHUNK)
        with SQLiteStore(root / f"{name}.db") as store:
            looping(turns, 4 * CHUNK, store).execute(kilobyte() | given, run_id=name)
        steps[name] = microseconds(turns.walls) / 1000
    more = steps["with"] - steps["without"]
    yield Figure(
        f"{MEGABYTES} MB ndarray unread: a step more",
        more,
        0.1,
        "ms",
        f"medians {steps['with']:.2f} and {steps['without']:.2f} ms",
    )
    del array
    with SQLiteStore(root / "with.db") as store:
        yield from read(store.load("with"))


def read(state: State) -> Iterator[Figure]:
    """Memory that a resumed process holds more for having read the array; the second read of it in another visit."""
    before = resident()
    began = time.perf_counter()
    value = state["array"]
    seconds = time.perf_counter() - began
    grown = resident() - before
    base = value.base
    while isinstance(base, np.ndarray):
        base = base.base
    shared = np.shares_memory(value, np.frombuffer(base, "u1")) and not value.flags.writeable
    note = f"one fetch from SQLite with its checksum, {seconds * 1000:.0f} ms; a read-only view of it: {shared}"
    yield Figure(f"{MEGABYTES} MB ndarray read: memory kept", grown, MEGABYTES * 1.05, "MB", note)
    again = []
    for _ in range(ROUNDS):
        view = state.clone()
        cell = view._data["array"]
        began = time.perf_counter()
        cell.open()
        again.append(time.perf_counter() - began)
    yield Figure(
        f"{MEGABYTES} MB ndarray read again", statistics.median(again) * 1e6, 200.0, "us", "a view, nothing copied"
    )


def resident() -> float:
    """Megabytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
