"""What a node does to its own process, ending or copying it, costs its run and not the worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import HELD, ended, load, notes, start, until, write

from tau import open_store
from tau.stores.contract import Store

EXITS = """
def work(state, ctx):
    note(ctx.run_id, ctx.node, ctx.attempt)
    if state.get("says") is not None and ctx.node == "second":
        raise (GeneratorExit if state["says"] == "generator" else SystemExit)(state["says"])

async def in_task(state):
    sys.exit(state["says"])

async def awork(state, ctx):
    note(ctx.run_id, ctx.node, ctx.attempt)
    await asyncio.sleep(0)
    if state.get("says") == "generator" and ctx.node == "second":
        raise GeneratorExit
    if state.get("says") == "task" and ctx.node == "second":
        await asyncio.create_task(in_task(state))
    elif state.get("says") is not None and ctx.node == "second":
        sys.exit(state["says"])

for name in ("first", "second", "third"):
    graph.add_node(name, awork if "ASYNC" in os.environ else work, version="1")
"""

FORKS = """
def work(state, ctx):
    note(ctx.run_id, ctx.node, ctx.attempt)
    if state.get("forks") and ctx.node == "second":
        copy = os.fork()
        if copy == 0 and state["forks"] == "exits":
            sys.exit(0)
        if copy:
            note(ctx.run_id, "copy-ended", os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]))
    return {ctx.node: 1}

async def awork(state, ctx):
    await asyncio.sleep(0)
    return work(state, ctx)

for name in ("first", "second", "third"):
    graph.add_node(name, awork if "ASYNC" in os.environ else work, version="1")
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path}/runs.db")


def statuses(store: Store) -> dict[str, str]:
    return {row.run_id: row.status for row in store.runs()}


ONE, TWO = ["--concurrency", "1"], ["--concurrency", "2"]
WAYS = {"one": (ONE, {}), "children": (TWO, {}), "one, async": (ONE, {"ASYNC": "1"}), "loop": (TWO, {"ASYNC": "1"})}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("more", [[], ["--all-interrupted"]])
def test_a_node_that_exits_ends_its_run_and_not_the_worker(
    tmp_path: Path, store: Store, way: str, more: list[str]
) -> None:
    """It is named, and not taken again, whatever it says and although the worker takes what was interrupted."""
    options, environment = WAYS[way]
    write(tmp_path, EXITS)
    graph = load(tmp_path, store.location)
    says: dict[str, int | str] = {
        "r2": 3,
        "r4": "drain",
        "r5": "generator",
        **({"r6": "task"} if "ASYNC" in environment else {}),
    }
    for number in range(9):
        graph.admit({"says": says.get(f"r{number}")}, run_id=f"r{number}")
    code, out, err = ended(start(tmp_path, store.location, "--once", *options, *more, **environment))
    assert code == 0, err
    report = json.loads(out)
    assert (report["finished"], report["interrupted"], report["deaths"]) == (9 - len(says), len(says), 0), out
    assert statuses(store) == {f"r{n}": "interrupted" if f"r{n}" in says else "finished" for n in range(9)}
    assert "run r2 interrupted: SystemExit: 3" in err
    assert len(notes(tmp_path)) == 9 * 3 - len(says)
    assert store.due("counted", 9) == []
    store.close()


OF_A_HANDLER = """
import signal, sys
import tau
from counted import graph

class Handler:
    def __call__(self, number, frame):
        sys.exit(5)

signal.signal(signal.SIGTERM, Handler() if sys.argv[1] == "object" else lambda number, frame: sys.exit(5))
tau.worker(graph, concurrency=int(sys.argv[2]), once=True)
"""


@pytest.mark.parametrize("handler", ["object", "function"])
@pytest.mark.parametrize(("concurrency", "environment"), [(1, {}), (2, {"ASYNC": "1"})])
def test_what_a_signal_handler_raises_ends_the_worker(
    tmp_path: Path, store: Store, handler: str, concurrency: int, environment: dict[str, str]
) -> None:
    write(tmp_path, HELD)
    load(tmp_path, store.location).admit({}, run_id="r")
    process = subprocess.Popen(
        [sys.executable, "-c", OF_A_HANDLER, handler, str(concurrency)],
        cwd=tmp_path,
        env={**os.environ, "RUNS": store.location, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: ("r", "second", 1) in notes(tmp_path), processes=[process])
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 5, err
    assert statuses(store) == {"r": "interrupted"}
    store.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_the_process_that_a_node_makes_ends_with_the_node(tmp_path: Path, store: Store, way: str) -> None:
    """The copy reports nothing and takes nothing: every run has the result of its own process."""
    write(tmp_path, FORKS)
    graph = load(tmp_path, store.location)
    for number in range(8):
        forks = {2: "returns", 5: "exits"}.get(number)
        graph.admit({"forks": forks}, run_id=f"r{number}")
    options, environment = WAYS[way]
    code, out, err = ended(start(tmp_path, store.location, "--once", *options, **environment))
    assert code == 0, err
    report = json.loads(out)
    assert (report["finished"], report["failed"], report["interrupted"], report["deaths"]) == (8, 0, 0, 0), out
    assert set(statuses(store).values()) == {"finished"}
    found = notes(tmp_path)
    assert {(run_id, code) for run_id, node, code in found if node == "copy-ended"} == {("r2", 1), ("r5", 1)}
    assert len(found) == 8 * 3 + 2
    store.close()
