"""What watching a run costs: nodes of about 10 ms, with the view of `tau run` on a terminal and without an observer."""

from __future__ import annotations

import hashlib
import os
import pty
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import Figure, looping
from steps import countdown

from tau import State, StateGraph
from tau.cli.outcome import Session
from tau.cli.output.progress import Progress
from tau.cli.output.view import shown
from tau.stores.memory import MemoryStore

NODES = 400
PAIRS = 6
BLOCK = b"x" * 1_000


def ten_milliseconds(state: State) -> dict[str, str]:
    """Always the same work, in Python and in C, which holds the interpreter for about 10 ms."""
    digest = b""
    for _ in range(6_500):
        digest = hashlib.blake2b(BLOCK + digest).digest()
    return {"digest": digest.hex()}


@contextmanager
def terminal() -> Iterator[None]:
    """stderr on a terminal whose other end a process of its own reads."""
    inner, outer = pty.openpty()
    with subprocess.Popen(["cat"], stdin=inner, stdout=subprocess.DEVNULL) as reader:
        kept, sys.stderr = sys.stderr, os.fdopen(outer, "w")
        try:
            yield
        finally:
            sys.stderr.close()
            sys.stderr = kept
            os.close(inner)
            reader.kill()


def once(graph: StateGraph, run_id: str, watched: bool) -> tuple[float, float]:
    """The seconds of one run, and those of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    if watched:
        progress = Progress(Session(run_id=run_id), quiet=False)
        with shown(graph, progress):
            graph.execute(run_id=run_id, observer=progress)
    else:
        graph.execute(run_id=run_id)
    return time.perf_counter() - wall, time.process_time() - cpu


def view(root: Path) -> Iterator[Figure]:
    """Runs with and without the view in turns, compared pair by pair, against drifts of the machine."""
    walls, cpus, bare = [], [], []
    os.environ["TERM"] = "xterm"
    with terminal():
        for number in range(PAIRS):
            pair = {}
            for watched in (True, False) if number % 2 else (False, True):
                graph = looping(countdown(ten_milliseconds, NODES), NODES, MemoryStore())
                pair[watched] = once(graph, f"{number}-{watched}", watched)
            walls.append(100 * (pair[True][0] / pair[False][0] - 1))
            cpus.append(100 * (pair[True][1] / pair[False][1] - 1))
            bare.append(pair[False][0] / NODES * 1000)
    note = f"nodes of {statistics.median(bare):.1f} ms, {PAIRS} pairs of {NODES}"
    yield Figure(
        "view: what a watched run takes more, processor", statistics.median(cpus), 1.0, "%", note, best=min(cpus)
    )
    yield Figure(
        "view: the same, by the clock", statistics.median(walls), 1.0, "%", f"least {min(walls):.2f} %", best=min(walls)
    )
