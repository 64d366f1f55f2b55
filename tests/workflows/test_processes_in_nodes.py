"""Items in worker processes inside a node: where they are, what is kept of them, how they end with it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import process_tasks as tasks
import pytest
from test_process_items import LONG, is_gone, lines, soon, until

from tau import (
    ExecutionError,
    NodeTimeoutError,
    ParallelConfig,
    ParallelError,
    RunInterruptedError,
    StateGraph,
    Stop,
    UnserializableError,
    parallel_node,
    process_parallel,
)
from tau.stores.memory import MemoryStore


def graph_of(node: Any, store: str = "memory:", **options: Any) -> StateGraph:
    graph = StateGraph("g", store=store)
    graph.add_node("node", node, version="1", **options)
    graph.sequence("node")
    return graph


def test_the_context_tells_there_what_it_tells_in_a_thread() -> None:
    found: dict[str, Any] = {}

    def node(state: Any, ctx: Any) -> None:
        for executor in ("threads", "processes"):
            found[executor] = ctx.map(executor, tasks.here, [1, 2], executor=executor, workers=1)

    graph_of(node).execute({}, run_id="told", seed=7, max_runtime=600)
    assert found["processes"] == found["threads"]
    assert found["processes"][0][:4] == ("told", "node", 1, 1)
    assert found["processes"][0][5] != found["processes"][1][5]


@pytest.mark.parametrize("store", ["memory:", None])
def test_what_the_run_keeps_is_out_of_reach_there(store: Any) -> None:
    def node(state: Any, ctx: Any) -> Any:
        items = ["step", "map", "ask", "artifact", "emit", "progress"]
        return {"out": ctx.map("m", tasks.out_of_reach, items, executor="processes", workers=1)}

    said = graph_of(node, store).execute({})["out"]
    assert len(said) == 6
    assert all("call them around the map" in one for one in said)


@pytest.mark.parametrize("kind", ["sqlite:///{}/runs.db", "file:{}/runs", "memory:"])
def test_finished_items_are_kept(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "calls"

    def node(state: Any, ctx: Any) -> Any:
        items = [(number, str(place)) for number in range(10)]
        return {"out": ctx.map("m", tasks.noted_and_broken, items, executor="processes", workers=2)}

    graph = graph_of(node, kind.format(tmp_path))
    with pytest.raises(ExecutionError, match="broke"):
        graph.execute({}, run_id=str(tmp_path))
    before = Counter(lines(place))
    place.with_name("calls.whole").write_text("")
    assert graph.resume(str(tmp_path))["out"] == [*range(10)]
    after = Counter(lines(place))
    assert {number for number, count in after.items() if count > 1} == {"9"}
    assert before["9"] == 1


def test_an_async_node_awaits_it() -> None:
    async def node(state: Any, ctx: Any) -> Any:
        return {"out": await ctx.map("m", tasks.same_later, range(5), executor="processes", workers=2)}

    assert graph_of(node).execute({})["out"] == [*range(5)]


def test_a_parallel_node_takes_it_from_its_configuration_also_from_json() -> None:
    config = ParallelConfig.from_json('{"executor": "processes", "max_workers": 1}')
    assert ParallelConfig.from_json(config.to_json()) == config
    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("node", parallel_node([1, 2], tasks.same, config, into="out"))
    graph.sequence("node")
    assert graph.execute({})["out"] == [1, 2]


def test_items_that_can_only_be_pickled_need_a_key_and_results_a_codec() -> None:
    def keyed(state: Any, ctx: Any) -> Any:
        items = [tasks.Plain(1), tasks.Plain(2)]
        return {"out": ctx.map("m", tasks.number, items, key=lambda item: item.number, executor="processes", workers=1)}

    assert graph_of(keyed).execute({})["out"] == [1, 2]

    def unstored(state: Any, ctx: Any) -> Any:
        return {"out": ctx.map("m", tasks.plain, [1], executor="processes", workers=1)}

    with pytest.raises(ExecutionError) as caught:
        graph_of(unstored).execute({})
    assert isinstance(caught.value.__cause__, ParallelError)
    assert isinstance(caught.value.__cause__.__cause__, UnserializableError)


def test_after_a_stop_nothing_begins_and_what_runs_is_kept(tmp_path: Path) -> None:
    place, stop = tmp_path / "calls", Stop()

    def node(state: Any, ctx: Any) -> Any:
        items = [(number, str(place)) for number in range(10)]
        return {"out": ctx.map("m", tasks.noted_and_waits, items, executor="processes", workers=2)}

    def stops() -> None:
        until(lambda: len(lines(place)) == 2)
        stop.set()
        place.with_name("calls.go").write_text("")

    thread = threading.Thread(target=stops)
    thread.start()
    graph = graph_of(node, f"sqlite:///{tmp_path}/runs.db")
    with pytest.raises(RunInterruptedError):
        graph.execute({}, run_id="r", stop=stop)
    thread.join()
    assert len(lines(place)) == 2
    assert graph.resume("r")["out"] == [*range(10)]
    assert sorted(map(int, lines(place))) == [*range(10)]


def at_work_when_time_was_up(node: Any, place: Path) -> list[int]:
    """The processes of a node that a timeout ended; where none had begun by then, it has more time."""
    for seconds in (1.0, 4.0, 16.0, 64.0):
        with pytest.raises(ExecutionError) as caught:
            graph_of(node, timeout=seconds).execute({})
        assert isinstance(caught.value.__cause__, NodeTimeoutError)
        if pids := lines(place):
            return [int(pid) for pid in pids]
    raise AssertionError("no process began")


def test_a_node_that_took_too_long_leaves_no_process_at_work(tmp_path: Path) -> None:
    place = tmp_path / "pids"

    def node(state: Any, ctx: Any) -> Any:
        return {"out": ctx.map("m", tasks.busy, [str(place)], executor="processes", workers=1)}

    for pid in at_work_when_time_was_up(node, place):
        until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]


def test_an_async_node_that_took_too_long_neither(tmp_path: Path) -> None:
    place = tmp_path / "pids"

    async def node(state: Any, ctx: Any) -> Any:
        return {"out": await ctx.map("m", tasks.sleep_long, [str(place)], executor="processes", workers=1)}

    assert all(is_gone(pid) for pid in at_work_when_time_was_up(node, place))


async def test_a_run_that_is_cancelled_ends_its_processes(tmp_path: Path) -> None:
    place = tmp_path / "pids"

    async def node(state: Any, ctx: Any) -> Any:
        return {"out": await ctx.map("m", tasks.sleep_long, [str(place)], executor="processes", workers=1)}

    run = asyncio.create_task(graph_of(node).aexecute({}))
    await soon(lambda: lines(place))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert all(is_gone(int(pid)) for pid in lines(place))


KILLED = """
import os, signal, sys
from tau import StateGraph

ITEMS, WORKERS = 100, 2

def work(item):
    number, place = item
    with open(place, "a") as file:
        file.write(f"{number}\\n")
    if number == 60 and not os.path.exists(place + ".killed"):
        open(place + ".killed", "w").close()
        os.kill(os.getppid(), signal.SIGKILL)
        while True:
            pass
    return -number

def node(state, ctx):
    items = [(number, state["place"]) for number in range(ITEMS)]
    return {"out": ctx.map("m", work, items, executor="processes", workers=WORKERS)}

graph = StateGraph("killed", store=sys.argv[1])
graph.add_node("node", node)
graph.sequence("node")

if __name__ == "__main__":
    out = graph.execute({"place": sys.argv[2]}, run_id="r", if_exists="resume", wait=60)["out"]
    print(out == [-number for number in range(ITEMS)])
"""


@pytest.mark.parametrize("kind", ["sqlite:///{}/runs.db", "file:{}/runs"])
def test_a_kill_of_the_caller_costs_what_was_in_flight(tmp_path: Path, kind: str) -> None:
    script, place = tmp_path / "killed.py", tmp_path / "calls"
    script.write_text(KILLED)
    command = [sys.executable, str(script), kind.format(tmp_path), str(place)]
    assert subprocess.run(command, timeout=LONG, check=False).returncode == -9
    done = subprocess.run(command, timeout=LONG, check=False, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
    counts = Counter(lines(place))
    assert len(counts) == 100
    assert sum(counts.values()) - 100 <= 4


def test_a_worker_that_is_killed_costs_no_other_item(tmp_path: Path) -> None:
    """Each of 60 items is stored once, and called once but for the two whose workers are killed."""
    place = tmp_path / "calls"

    def node(state: Any, ctx: Any) -> Any:
        items = [(number, str(place)) for number in range(60)]
        return {"out": ctx.map("m", tasks.noted_and_killed, items, executor="processes", workers=2)}

    graph = graph_of(node, f"sqlite:///{tmp_path}/runs.db")
    assert graph.execute({}, run_id="r")["out"] == [*range(60)]
    counts = Counter(lines(place))
    assert {number for number, count in counts.items() if count > 1} == {"20", "40"}
    assert len(counts) == 60


def test_outside_of_a_run_a_map_may_be_called_in_any_thread() -> None:
    out: list[Any] = []
    config = ParallelConfig(executor="processes", max_workers=1, observer=None)
    threads = [
        threading.Thread(target=lambda: out.append(process_parallel([1, 2], tasks.same, config).results))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert out == [[1, 2]] * 2
