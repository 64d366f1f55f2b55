"""Servers that are killed again and again while runs go on, and PostgreSQL struck between any two statements."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from places import STORES, Server, ground, server

from tau import CheckpointConfig, GraphConfig, State, StateGraph
from tau.errors import RunOwnedError, StoreUnavailableError
from tau.stores import open_store

__all__ = ["ground", "server"]

DEEP = pytest.mark.deep
NODES = "abcd"
AT_ONCE = 40


@pytest.mark.parametrize(("runs", "pause"), [(60, 0.2), pytest.param(5000, 1.0, marks=DEEP)])
def test_runs_finish_while_their_server_is_killed_again_and_again(server: Server, runs: int, pause: float) -> None:
    """T11: each ends with the same state as without a restart, and no finished node is run again."""
    store = open_store(server.url)
    ran: Counter[str] = Counter()
    troubled: set[str] = set()
    graph = StateGraph(
        GraphConfig("chaos", observer=None, checkpoint=CheckpointConfig(store=store, interval=1, preserve=True))
    )

    def make(name: str) -> Any:
        async def node(state: State) -> dict[str, Any]:
            ran[f"{state.run_id} {name}"] += 1
            await asyncio.sleep(0)
            return {"path": state.get("path", "") + name, name: state["number"] * 7}

        return node

    for name in NODES:
        graph.add_node(name, make(name), version="1")
    graph.sequence(*NODES)

    async def one(number: int, turn: asyncio.Semaphore) -> dict[str, Any]:
        run = f"run-{number:05}"
        async with turn:
            while True:
                try:
                    final = await graph.aexecute({"number": number}, run_id=run, if_exists="resume", wait=5.0)
                    return dict(final)
                except (StoreUnavailableError, RunOwnedError):  # a claim does not wait for a server
                    troubled.add(run)

    async def every() -> list[dict[str, Any]]:
        turn = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(one(number, turn) for number in range(runs)))

    with server.restarting(pause):
        finals = asyncio.run(every())
        while server.starts() < 3:  # on a fast machine the runs may be over before
            finals += asyncio.run(every())[:0]
    assert finals == [{"number": number, "path": NODES, **dict.fromkeys(NODES, number * 7)} for number in range(runs)]
    assert len(ran) == runs * len(NODES)
    twice = {line.split()[0] for line, count in ran.items() if count > 1}
    assert twice <= troubled
    assert [(row.status, row.iterations) for row in store.runs()] == [("finished", len(NODES))] * runs
    store.close()


@pytest.mark.parametrize("points", ["2", pytest.param("all", marks=DEEP)])
@pytest.mark.parametrize("name", ["postgres", "redis", "s3"])
def test_a_kill_between_any_two_calls_of_a_commit_to_a_server_loses_nothing(
    request: pytest.FixtureRequest, ground: Path, name: str, points: str
) -> None:
    """T1, where the boundaries are before a request is sent and after its answer came. (What is lost in between is lost
    by the network, too: see the tests of lost replies.)"""
    url = STORES[name](request, ground)
    program = str(Path(__file__).with_name("struck_program.py"))
    environment = {**os.environ, "TMPDIR": str(ground)}
    done = subprocess.run(
        [sys.executable, program, name, url, points], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["findings"] == []
    assert told["left"] == 0
    assert told["inside"] >= 2
