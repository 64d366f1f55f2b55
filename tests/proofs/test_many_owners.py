"""Many owners of one run, on every store: who races, who was frozen, and workers that are killed at work."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from places import ground, url

from tau import CheckpointConfig, GraphConfig, State, StateGraph
from tau.errors import ExecutionError, RunOwnedError
from tau.stores import open_store
from tau.stores.memory import MemoryStore

__all__ = ["ground", "url"]

DEEP = pytest.mark.deep
PROGRAM = Path(__file__).with_name("owners_program.py")


class Owners:
    """The program that makes owners, as an object: ``owners("race", "r", 8)``."""

    def __init__(self, url: str, effects: Path) -> None:
        self.effects = effects
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), url, str(effects)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, name: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def ran(self) -> Counter[str]:
        """How often each node of each run was run."""
        return Counter(self.effects.read_text().splitlines())


@pytest.fixture
def owners(url: str, ground: Path) -> Iterator[Owners]:
    owners = Owners(url, ground / "effects")
    yield owners
    owners.process.communicate()
    assert owners.process.returncode == 0


@pytest.mark.parametrize(("count", "rounds"), [(8, 2), pytest.param(32, 100, marks=DEEP)])
def test_of_many_that_resume_a_run_at_once_one_runs(owners: Owners, count: int, rounds: int) -> None:
    """T7: it has the result, and so has who comes after its end; the others are told whose the run is. The node in
    which the first owner was killed is run once more."""
    runs = [f"run-{number:05}" for number in range(rounds)]
    assert owners("die", runs, "d") == [None] * rounds
    for run in runs:
        ends = owners("race", run, count)
        finished = [end for end in ends if end == {"done": "abcd"}]
        assert finished
        assert {end["error"] for end in ends if end not in finished} <= {"RunOwnedError"}, ends
    expected = Counter({f"{run} {node}": 1 + (node == "d") for run in runs for node in "abcd"})
    assert owners.ran() == expected


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=DEEP)])
def test_an_owner_that_was_frozen_past_its_lease_writes_nothing_more(url: str, owners: Owners, count: int) -> None:
    """T8: another one finishes its run meanwhile. When it goes on, it is told so, and the history stays as it was."""
    for first in range(0, count, 10):
        runs = [f"run-{number:05}" for number in range(first, min(count, first + 10))]
        owners("freeze", runs, "b")
        assert owners("inherit", runs) == [{"done": "abcd"}] * len(runs)
        with open_store(url) as store:
            before = {run: store.read(run) for run in runs}
        ran = owners.ran()
        ends = owners("thaw")
        assert {run: end.get("error") for run, end in ends.items()} == dict.fromkeys(runs, "LeaseLostError"), ends
        with open_store(url) as store:
            assert {run: store.read(run) for run in runs} == before
        assert owners.ran() == ran
    assert owners.ran() == Counter(
        {f"run-{number:05} {node}": 1 + (node == "b") for number in range(count) for node in "abcd"}
    )


@pytest.mark.parametrize(("count", "kills"), [(24, 3), pytest.param(2000, 150, marks=DEEP)])
def test_workers_that_are_killed_at_work_finish_all_runs(url: str, owners: Owners, count: int, kills: int) -> None:
    """T20: a kill costs at most the node in flight, and memory does not grow with what was done."""
    runs = [f"run-{number:05}" for number in range(count)]
    told = owners("soak", runs, 4, kills, 1)
    assert all("done" in end for end in (told["witness"], *told["others"])), told
    assert told["killed"] > 0
    ran = owners.ran()
    assert ran.keys() == {f"{run} {node}" for run in runs for node in "abcd"}
    assert sum(ran.values()) - len(ran) <= told["killed"]
    with open_store(url) as store:
        assert Counter(row.status for row in store.runs()) == {"finished": count}
        for run in runs:
            assert store.load(run)["path"] == "abcd"
    early, late = told["witness"]["done"]
    if count > 1000 and not url.startswith("s3:"):  # which keeps what it has read, up to more than is read here
        cache = 512 if url.startswith("sqlite:") else 0  # pages of 4 kB: a connection fills its cache of 2 MB by and by
        assert late <= early * 1.05 + cache, f"{early} pages after half of the runs, {late} at the end"


@pytest.mark.parametrize(("count", "rounds"), [(8, 10), pytest.param(32, 100, marks=DEEP)])
def test_of_many_threads_that_resume_a_run_in_memory_at_once_one_runs(count: int, rounds: int) -> None:
    """T7, for the store that no other process sees."""
    ran: Counter[str] = Counter()
    store, fails = MemoryStore(), {"fails": True}

    def graph() -> StateGraph:
        checkpoint = CheckpointConfig(store=store, interval=1, preserve=True)
        graph = StateGraph(GraphConfig("proof", observer=None, checkpoint=checkpoint))

        def last(state: State) -> dict[str, Any]:
            if fails["fails"]:
                raise ValueError("not yet")
            ran[state.run_id] += 1
            return {"path": state["path"] + "b"}

        graph.add_node("a", lambda state: {"path": "a"}, version="1")
        graph.add_node("b", last, version="1")
        graph.sequence("a", "b")
        return graph

    runs = [f"r{number}" for number in range(rounds)]
    for run in runs:
        with pytest.raises(ExecutionError):
            graph().execute({}, run_id=run)
    fails.clear()
    fails["fails"] = False
    for run in runs:
        gate, ends = threading.Barrier(count), []

        def contend(run: str = run, gate: threading.Barrier = gate, ends: list[str] = ends) -> None:
            mine = graph()
            gate.wait(60)
            try:
                ends.append(str(mine.resume(run)["path"]))
            except RunOwnedError:
                ends.append("owned")

        threads = [threading.Thread(target=contend) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ends) == count
        assert set(ends) <= {"ab", "owned"}
        assert "ab" in ends
    assert ran == dict.fromkeys(runs, 1)
