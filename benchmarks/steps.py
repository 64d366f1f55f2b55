"""What a step costs: without a store, in memory, and on disk beside the same bytes committed bare."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from measure import HERE, Figure, Turns, kilobyte, looping, microseconds, nothing, one_key, same_bytes

from stores import bare_file, bare_sqlite
from tau import State
from tau.stores.contract import Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore

CPU_STEPS = 30_000
PIECE = 100
DISK_STEPS = 1_000
COMMIT_NAME = len("p0123456789012345")
NESTED = {"nested": {"station": {"name": "Mauna Loa", "values": [1.5, 2.5, 3.5], "where": {"lat": 19.5}}}}


def countdown(work: Callable[[State], Any], steps: int) -> Callable[[State], Any]:
    """``work`` so many times, then the end; in a closure, which costs least."""
    left = steps

    def node(state: State) -> Any:
        nonlocal left
        left -= 1
        return work(state) if left else {"done": True}

    return node


def read_nested(state: State) -> None:
    _ = state["nested"]


def each_step(work: Callable[[State], Any], values: dict[str, Any], store: Store | None) -> list[float]:
    """Microseconds of a step, once for each piece of 100 steps: short enough to fall into quiet moments as well."""
    marks: list[float] = []

    def marked(state: State) -> Any:
        nonlocal left
        left -= 1
        if left % PIECE == 0:
            marks.append(time.perf_counter())
        return work(state)

    left = CPU_STEPS
    looping(countdown(marked, CPU_STEPS), CPU_STEPS, store).execute(values)
    return [(after - before) / PIECE * 1e6 for before, after in pairwise(marks[2:])]


def shown(what: str, found: list[float], limit: float) -> Figure:
    least = min(found)
    note = f"least of {len(found)} pieces: {least:.2f} us"
    return Figure(what, statistics.median(found), limit, "us", note, best=least)


def engine(root: Path) -> Iterator[Figure]:
    """Engine steps without a store."""
    yield shown("engine step, no store", each_step(nothing, {}, None), 4.0)
    yield shown("engine step, no store, a nested value read", each_step(read_nested, NESTED, None), 8.0)


def memory(root: Path) -> Iterator[Figure]:
    """Checkpoint steps in memory, and what a read of a nested value adds to a step that is kept."""
    yield shown("checkpoint step, memory, 1 kB state", each_step(one_key, kilobyte(), MemoryStore()), 12.0)
    idle, nested = (each_step(work, NESTED, MemoryStore()) for work in (nothing, read_nested))
    more = statistics.median(nested) - statistics.median(idle)
    note = f"decoded, encoded, compared; least of both: {min(nested) - min(idle):.2f} us"
    yield Figure("a nested value read in a kept step, beyond the step", more, None, "us", note)


def sqlite(root: Path) -> Iterator[Figure]:
    """Durable steps on SQLite, in turns with bare commits."""
    commit = bare_sqlite(root / "bare.db")
    yield from on_disk("SQLite", SQLiteStore(root / "steps.db"), commit, 1.2, 50.0)
    yield syncs("SQLite", f"sqlite:///{root}/traced.db", 1.0)


def file(root: Path) -> Iterator[Figure]:
    """Durable steps on the file store, in turns with bare files."""
    yield from on_disk("file", FileStore(root / "steps"), bare_file(root / "bare"), 1.5, 0.0)
    yield syncs("file", f"file://{root}/traced", 2.0)


def on_disk(
    name: str, store: Store, commit: Callable[[bytes], object], limit: float, cpu_limit: float
) -> Iterator[Figure]:
    turns = Turns(one_key, DISK_STEPS, same_bytes(store, commit))
    looping(turns, DISK_STEPS, store).execute(kilobyte())
    step, bare = microseconds(turns.walls), microseconds(turns.bare_walls)
    note = f"medians {step:.0f} and {bare:.0f} us, means {sum(turns.walls) / sum(turns.bare_walls):.2f} x"
    yield Figure(f"step, {name}, beside a bare commit", step / bare, limit, "x", note)
    cpu, bare_cpu = microseconds(turns.cpus), microseconds(turns.bare_cpus)
    least = max(0.0, min(turns.cpus) - min(turns.bare_cpus)) * 1e6
    note = f"{cpu:.0f} us and {bare_cpu:.0f} us; least of both: {least:.0f} us"
    if cpu_limit:
        yield Figure(f"step, {name}, CPU beyond a bare commit", cpu - bare_cpu, cpu_limit, "us", note, best=least)


def syncs(name: str, url: str, limit: float) -> Figure:
    """Count under strace what a run synchronizes, less what SQLite's checkpoints or the file store's merges do."""
    what = f"step, {name}, fsyncs beside checkpoints or merges"
    if shutil.which("strace") is None:
        return Figure(what, float("nan"), limit, "", "strace is not installed")
    calls, others = traced(url, DISK_STEPS)
    before, _ = traced(f"{url}-empty", 1)  # what making the store, the first and the last commit take
    own = others * (3 if name == "SQLite" else 2)
    each = (calls - before - own) / (DISK_STEPS - 1)
    return Figure(what, round(each, 2), limit, "", f"{calls / DISK_STEPS:.3f} with {others} of these and the opening")


def traced(url: str, steps: int) -> tuple[int, int]:
    """How many syncs a run makes, and how many checkpoints or merges are behind some of these.

    A checkpoint syncs the log, the database, then the new log's header; a merge a file that stands for many positions,
    whose name has two numbers, and the directory.
    """
    trace = "strace", "-f", "-y", "-qq", "-e", "trace=fsync,fdatasync,linkat", "-e", "signal=none", "-o", "/dev/stdout"
    code = f"import steps; steps.plain({url!r}, {steps})"
    run = subprocess.run([*trace, sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    calls = [line for line in lines if "sync(" in line]
    if url.startswith("sqlite"):
        others = sum(f"/{url.rpartition('/')[2]}>" in line for line in calls) - 1  # one is of making the tables
    else:
        others = sum('"p' in line and len(line.split('"')[-2]) > COMMIT_NAME for line in lines if "linkat(" in line)
    return len(calls), others


def plain(url: str, steps: int) -> None:
    """So many steps and nothing else, for strace."""
    from tau.stores.registry import resolve_store

    store = resolve_store(url)
    looping(countdown(one_key, steps), steps, store).execute(kilobyte())
    os._exit(0)  # closing would write its own checkpoint
