"""What the figures share: how one is shown, a graph that loops, and steps that take turns with a bare operation."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tau import CheckpointConfig, GraphConfig, State, StateGraph, key_exists
from tau.stores.contract import Store

HERE = Path(__file__).resolve().parent
CHUNK = 50


@dataclass(frozen=True)
class Figure:
    """One measured number beside the most (or the least) it may be; no limit: it is shown for comparison."""

    what: str
    measured: float
    limit: float | None
    unit: str
    note: str = ""
    at_least: bool = False
    best: float | None = None

    @property
    def ok(self) -> bool:
        return self._keeps(self.measured)

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        if self.ok:
            return "ok"
        word = "UNDER" if self.at_least else "OVER"
        return f"{word} (best ok)" if self.best is not None and self._keeps(self.best) else word

    def _keeps(self, number: float) -> bool:
        if self.limit is None:
            return True
        return number >= self.limit if self.at_least else number <= self.limit


def looping(node: Callable[[State], Any], steps: int, store: Store | None = None) -> StateGraph:
    """A graph that runs ``node`` until it sets ``done``: one edge that does not hold, then the edge back."""
    checkpoint = CheckpointConfig() if store is None else CheckpointConfig(store=store, interval=1, preserve=True)
    graph = StateGraph(GraphConfig("figures", observer=None, max_iterations=steps + 10, checkpoint=checkpoint))
    graph.add_node("step", node, version="1")
    graph.add_node("end", nothing)
    graph.add_edge("step", "end", key_exists("done"))
    graph.add_edge("step", "step")
    graph.set_entry_point("step")
    graph.set_exit_point("end")
    return graph


def nothing(state: State) -> None:
    """A node that changes nothing."""


def kilobyte() -> dict[str, Any]:
    """A state of 1 kB: ten texts of a hundred characters."""
    return {f"key{number}": f"{number:04d}" + "x" * 96 for number in range(10)}


def one_key(state: State) -> dict[str, Any]:
    """Reads one key of `kilobyte` and sets it."""
    return {"key0": f"{int(state['key0'][:4]) + 1:04d}" + "x" * 96}


class Turns:
    """A node that does ``work`` and, after every 50 visits, makes 50 bare commits.

    What is measured of tau is the time from one start of the node to the next, the node's own work included and the
    bare commits not. Walls and CPU are seconds, the CPU that of the whole process; the first 50 visits are not counted.
    """

    def __init__(
        self, work: Callable[[State], dict[str, Any]], steps: int, bare: Callable[[str], object] | None = None
    ) -> None:
        self.work, self.steps, self.bare = work, steps, bare
        self.walls: list[float] = []
        self.cpus: list[float] = []
        self.bare_walls: list[float] = []
        self.bare_cpus: list[float] = []
        self.entered = 0.0
        self.visits = 0
        self._began = 0.0
        self._cpu_began = 0.0

    def __call__(self, state: State) -> dict[str, Any]:
        now = time.perf_counter()
        if self.visits == 0:
            self.entered = now
        elif self.visits > CHUNK:
            self.walls.append(now - self._began)
        if self.visits % CHUNK == 0:
            if self.visits > CHUNK:
                self.cpus.append((time.process_time() - self._cpu_began) / CHUNK)
            if self.bare is not None and self.visits:
                self._take_turn(self.bare, state.run_id)
            self._cpu_began, now = time.process_time(), time.perf_counter()
        self._began = now
        self.visits += 1
        return self.work(state) if self.visits <= self.steps else {"done": True}

    def _take_turn(self, bare: Callable[[str], object], run_id: str) -> None:
        bare(run_id)  # the first one also prepares what the others use
        cpu = time.process_time()
        for _ in range(CHUNK):
            began = time.perf_counter()
            bare(run_id)
            self.bare_walls.append(time.perf_counter() - began)
        self.bare_cpus.append((time.process_time() - cpu) / CHUNK)


def same_bytes(store: Store, commit: Callable[[bytes], object]) -> Callable[[str], object]:
    """A bare commit of as many bytes as the newest record of a run has, with the blobs it adds."""
    sizes: dict[str, int] = {}

    def bare(run_id: str) -> None:
        if run_id not in sizes:
            sizes[run_id] = len(store.read(run_id)[-1][1])
        commit(os.urandom(sizes[run_id]))

    return bare


def microseconds(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1e6


def size_of(path: Path) -> float:
    """Megabytes of a database with its log, or of a directory."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
    files = (path.parent / (path.name + end) for end in ("", "-wal"))
    return sum(file.stat().st_size for file in files if file.exists()) / 1e6


TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int, *, children: bool = False) -> float:
    """Seconds of CPU that a process has taken so far, with those of its children, ended or not, if they are asked
    for."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat") if children else [Path(f"/proc/{pid}/stat")]:
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if path.parent.name == str(pid):
                total += sum(map(int, fields[11 : 15 if children else 13])) / TICKS
            elif fields[1] == str(pid):
                total += sum(map(int, fields[11:13])) / TICKS
    return total


def reaped() -> float:
    """Seconds of CPU of the children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
