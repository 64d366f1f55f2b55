"""Programs that workers run in processes of their own, and what they note in a file that is only appended to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 180

DEADLINE = 300.0


def until(condition: Callable[[], object], *, processes: list[subprocess.Popen[str]] | None = None) -> None:
    """Look until it holds."""
    ends = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < ends, "it takes too long"
        for one in processes or ():
            assert one.poll() is None, one.communicate()
        time.sleep(0.01)


COUNTED = """
import asyncio, os, signal, sys, time
from tau import CheckpointConfig, GraphConfig, StateGraph

def note(*words):
    number = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(number, (" ".join(map(str, words)) + "\\n").encode())
    os.close(number)

config = CheckpointConfig(store=os.environ.get("RUNS", "memory:"), interval=1, preserve=True, max_crashes=%(crashes)d,
    lease=float(os.environ.get("LEASE", "60")))
graph = StateGraph(GraphConfig("counted", observer="noop", checkpoint=config))
%(nodes)s
graph.sequence("first", "second", "third")
"""

SYNC = """
def work(state, ctx):
    note(ctx.run_id, ctx.node, ctx.attempt)
    time.sleep(0.02)
    return {ctx.node: os.getpid()}

for name in ("first", "second", "third"):
    graph.add_node(name, work, version="1")
"""

POISON = """
def work(state, ctx):
    note(ctx.run_id, ctx.node, ctx.attempt)
    if state.get("poison") and ctx.node == "second":
        os.kill(os.getpid(), signal.SIGKILL)
    return {ctx.node: 1}

async def awork(state, ctx):
    note(ctx.run_id, ctx.node, ctx.attempt)
    await asyncio.sleep(0.05)
    if state.get("poison") and ctx.node == "second":
        os.kill(os.getpid(), signal.SIGKILL)
    return {ctx.node: 1}

for name in ("first", "second", "third"):
    graph.add_node(name, awork if "ASYNC" in os.environ else work, version="1")
"""

HELD = """
def held(state, ctx):
    note(ctx.run_id, ctx.node, ctx.attempt)
    while ctx.node == "second" and not os.path.exists("go"):
        time.sleep(0.01)
        if ctx.should_stop:
            open("told", "w").close()

async def aheld(state, ctx):
    note(ctx.run_id, ctx.node, ctx.attempt)
    while ctx.node == "second" and not os.path.exists("go"):
        await asyncio.sleep(0.01)
        if ctx.should_stop:
            open("told", "w").close()

for name in ("first", "second", "third"):
    graph.add_node(name, aheld if "ASYNC" in os.environ else held, version="1")
"""


def write(folder: Path, nodes: str = SYNC, crashes: int = 50) -> None:
    """The program ``counted.py``, with the graph ``graph``."""
    (folder / "counted.py").write_text(COUNTED % {"nodes": nodes, "crashes": crashes})


def start(folder: Path, url: str, *options: str, **environment: str) -> subprocess.Popen[str]:
    """A worker of that graph."""
    command = [sys.executable, "-m", "tau", "worker", "counted.py:graph", "--store", url, "--json", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "RUNS": url, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def notes(folder: Path) -> list[tuple[str, str, int]]:
    """Each attempt at a node that was begun: the run, the node, the number of the attempt."""
    path = folder / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(run_id, node, int(attempt)) for run_id, node, attempt in (line.split() for line in lines)]


def load(folder: Path, url: str) -> Any:
    """The graph of ``counted.py`` in this process."""
    space: dict[str, Any] = {}
    before = os.environ.get("RUNS")
    os.environ["RUNS"] = url
    try:
        exec(compile((folder / "counted.py").read_text(), str(folder / "counted.py"), "exec"), space)
    finally:
        if before is None:
            del os.environ["RUNS"]
        else:
            os.environ["RUNS"] = before
    return space["graph"]


def check_none_twice(found: list[tuple[str, str, int]], runs: int, kills: int) -> None:
    """No attempt has the number of another, as of two owners at a time it would; none is missing, and a node that
    finished did not begin again: each further attempt is one that a kill cost."""
    assert not [one for one, count in Counter(found).items() if count > 1]
    attempts = Counter((run_id, node) for run_id, node, _ in found)
    assert max(attempt for _, _, attempt in found) <= kills + 1
    assert len(attempts) == 3 * runs
    assert sum(attempts.values()) - 3 * runs <= kills
