"""Graphs that survive every kill: what a crash test does, what it leaves alone and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tau import CheckpointConfig, Context, GraphConfig, State, StateGraph, Stop, pause_node
from tau.errors import ConfigError, RunInterruptedError
from tau.testing import CrashTestResult, crash_test
from tau.testing.crashes.points import every, parsed, spread

STORES = ["sqlite", "file"]


def pipeline(**options: Any) -> StateGraph:
    """Steps, a map, a file, a loop, an inner graph and an async node, each with its effects."""
    inner = StateGraph("inner")

    @inner.node
    def clean(state: State) -> dict[str, Any]:
        return {"clean": sorted(state["raw"])}

    @inner.node
    def mean(state: State) -> dict[str, Any]:
        return {"mean": sum(state["clean"]) / len(state["clean"])}

    inner.sequence(clean, mean)
    graph = StateGraph("whole", **options)

    @graph.node
    def ingest(state: State, ctx: Context) -> dict[str, Any]:
        raw = [ctx.step(name, fetch, ctx.key, name) for name in ("alert", "barrow")]
        squares = ctx.map("square", lambda number: number * number, range(3), key=str, workers=1)
        with ctx.artifact("raw.txt") as path:
            path.write_text(str(raw))
        return {"raw": raw, "squares": list(squares), "seed": ctx.seed("noise")}

    graph.add_node("inner", inner)

    @graph.node
    async def narrate(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"text": f"mean {state['mean']}", "rounds": state.get("rounds", 0) + 1}

    graph.add_node("end", lambda state: {"done": True}, version="1")
    graph.set_entry_point("ingest")
    graph.add_edge("ingest", "inner")
    graph.add_edge("inner", "narrate")
    graph.add_edge("narrate", "narrate", lambda state: state["rounds"] < 2)
    graph.add_edge("narrate", "end")
    graph.set_exit_point("end")
    return graph


def fetch(key: str, name: str) -> int:
    note(f"{key}/{name} fetched")
    return len(name)


def note(line: str) -> None:
    with open(os.environ["TAU_EFFECTS"], "a") as file:
        file.write(line + "\n")


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Temporary directories of crash tests, where it can be seen that none is left."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def check_all(result: CrashTestResult) -> None:
    assert result.findings == []
    assert result.left == 0
    assert sum(result.struck.values()) == len(result.plan.points)


def test_a_run_with_fewer_commits_than_the_one_that_was_counted_is_not_struck(tmp_path: Path) -> None:
    """As where steps that run at once share a commit; that is no broken promise."""
    runs = tmp_path / "runs"

    def steps(state: State, ctx: Context) -> dict[str, Any]:
        with runs.open("a") as file:
            file.write("x")
        for number in range(2 if runs.stat().st_size <= 2 else 1):  # the two undisturbed runs do more
            ctx.step(str(number), str, number)
        return {"a": 1}

    result = crash_test(graph_of(steps=steps), at=["after:4", "after:1"])
    assert result.plan.commits == 4
    assert result.findings == []
    assert result.struck["after"] == 1
    assert result.left == 0


@pytest.mark.parametrize("store", STORES)
def test_a_graph_of_all_kinds_survives(store: str, in_memory: Path) -> None:
    result = crash_test(pipeline(), {"site": "mlo"}, store=store, points=4)
    assert result.findings == []
    assert result.left == 0
    assert result.plan.commits >= 10
    assert sum(result.struck.values()) >= 12  # the items of the map may share commits
    assert list(in_memory.iterdir()) == []


@pytest.mark.deep
@pytest.mark.parametrize("store", STORES)
def test_a_graph_of_all_kinds_survives_at_every_point(store: str) -> None:
    result = crash_test(pipeline(), {"site": "mlo"}, store=store, points=None, max_time=3000)
    assert result.findings == []
    assert result.left == 0
    assert result.struck["inside"] > 50


def test_the_same_seed_draws_the_same_points_and_another_one_others() -> None:
    """From all parts of the run; never more than there are."""
    calls = [3, 0, *[5] * 98]
    drawn = [list(spread(calls, 10, seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [(point.commit - 1) // 10 for point in drawn[0] if point.kind == "after"] == list(range(10))
    assert {str(point) for point in spread(calls, 1000, 1)} <= {str(point) for point in every(calls)}
    assert all(parsed(str(point)) == point for point in every(calls))


def test_a_graph_with_an_interval_survives() -> None:
    """What an interval held back is not finished, so it may run again."""
    config = GraphConfig("held back", checkpoint=CheckpointConfig(interval=3), observer=None)
    graph = StateGraph(config)
    for name in "abcd":
        graph.add_node(name, lambda state, name=name: {name: 1}, version="1")
    graph.sequence(*"abcd")
    check_all(crash_test(graph, points=3))


def test_answers_are_given_to_pauses() -> None:
    graph = StateGraph("asks")
    graph.add_node("draft", lambda state: {"draft": "x"}, version="1")
    graph.add_node("review", pause_node("review"))
    graph.sequence("draft", "review")
    check_all(crash_test(graph, answers={"review": "good"}, points=3))
    with pytest.raises(ConfigError, match="it waits for people: review; nothing was killed; give the answers"):
        crash_test(graph)


# What is the user's stays as it is


def test_the_store_and_artifacts_of_the_graph_are_never_touched(tmp_path: Path) -> None:
    """Nor a store that a node opens by its URL, nor that of another graph that a node runs."""
    mine = tmp_path / "mine"
    other = StateGraph("other", store=f"sqlite:///{mine}/other.db")
    other.add_node("a", lambda state: {"a": 1}, version="1")
    other.sequence("a")
    page = tmp_path / "page.py"
    page.write_text(
        "from tau import CheckpointConfig, GraphConfig, StateGraph, open_store\n"
        f"where = {str(mine)!r}\n"
        "other = StateGraph('other', store=f'sqlite:///{where}/other.db')\n"
        "other.add_node('a', lambda state: {'a': 1}, version='1')\n"
        "other.sequence('a')\n"
        "checkpoint = CheckpointConfig(store=f'file:{where}/runs', interval=1, artifacts=f'{where}/artifacts')\n"
        "graph = StateGraph(GraphConfig('mine', checkpoint=checkpoint, observer=None))\n"
        "@graph.node\n"
        "def work(state, ctx):\n"
        "    with ctx.artifact('out.txt') as path:\n"
        "        path.write_text('x')\n"
        "    state.checkpoint(open_store(f'sqlite:///{where}/copies.db'))\n"
        "    return {'a': other.execute({}, if_exists='resume', run_id='inner')['a']}\n"
        "graph.sequence(work)\n"
        "if __name__ == '__main__':\n"
        "    graph.execute({})\n"
    )
    result = crash_test(f"{page}:graph", points=1)
    check_all(result)
    assert result.keys == ["a", "out.txt"]
    assert not mine.exists()


def test_a_graph_that_was_used_keeps_its_store(tmp_path: Path) -> None:
    graph = pipeline(store=f"sqlite:///{tmp_path}/runs.db")
    os.environ["TAU_EFFECTS"] = str(tmp_path / "mine.txt")
    try:
        graph.execute({}, run_id="r")
    finally:
        del os.environ["TAU_EFFECTS"]
    assert crash_test(graph, points=1).findings == []
    assert [row.run_id for row in graph.store.runs()] == ["r"]
    assert len((tmp_path / "mine.txt").read_text().splitlines()) == 2


def test_a_file_of_effects_that_is_the_graphs_own_is_read_and_kept(tmp_path: Path) -> None:
    sent = tmp_path / "sent.txt"
    sent.write_text("before\n")
    graph = StateGraph("sends")

    @graph.node
    def send(state: State, ctx: Context) -> None:
        with sent.open("a") as file:
            file.write(f"{ctx.key} sent\n")

    graph.sequence(send)
    result = crash_test(graph, effects=sent, points=2)
    check_all(result)
    lines = sent.read_text().splitlines()
    assert lines[0] == "before"
    assert len(lines) > sum(result.struck.values())


# What cannot be tested


def graph_of(**nodes: Callable[..., Any]) -> StateGraph:
    graph = StateGraph("g")
    for name, node in nodes.items():
        graph.add_node(name, node, version="1")
    graph.sequence(*nodes)
    return graph


def test_a_graph_that_differs_by_itself_is_told_before_any_kill(tmp_path: Path) -> None:
    """With the keys, and what leaves them out."""
    graph = graph_of(a=lambda state: {"made": time.time_ns(), "sum": 3})
    with pytest.raises(ConfigError, match=r"differ in made, .* nothing was killed.* --ignore made"):
        crash_test(graph)
    result = crash_test(graph, ignore=["made"], points=1)
    check_all(result)
    assert result.keys == ["sum"]
    with pytest.raises(ConfigError, match="no key 'maid' in the final state; did you mean 'made'"):
        crash_test(graph, ignore=["maid"])


def test_a_graph_that_fails_by_itself_is_told() -> None:
    def broken(state: State) -> None:
        raise ValueError("the sensor is broken")

    with pytest.raises(ConfigError, match=r"raised ExecutionError: .*the sensor is broken.*succeed by itself first"):
        crash_test(graph_of(a=broken))


def test_a_graph_that_never_ends_is_ended() -> None:
    def waits(state: State) -> None:
        signal.pause()

    with pytest.raises(ConfigError, match=r"did not come to its end within 1 s, so nothing was killed"):
        crash_test(graph_of(a=waits), max_time=1)


def test_when_the_time_is_up_no_point_is_begun() -> None:
    """What is left is told; what was found counts."""
    done: list[int] = []

    def watch(plan: Any, number: int) -> None:
        done.append(number)
        if number == 2:
            attempts = sys._getframe(1).f_locals["self"]
            attempts.until = 0.0

    result = crash_test(graph_of(a=lambda state: {"a": 1}), watch=watch)
    assert done == [0, 1, 2]
    assert result.left == len(result.plan.points) - 2 > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"points": 0}, "a whole number of commits from 1 on"),
        ({"max_time": 0}, "max_time: a number of seconds above 0"),
        ({"store": "postgres"}, "sqlite or file, or a function of a directory, found 'postgres'"),
        ({"at": ["inside:1"]}, "not a point of a crash test; write before:3, inside:3:5, after:3 or ctrl-c:NODE"),
        ({"at": ["before:99"]}, "before:99: a run of this graph has 2 commits"),
        ({"at": ["ctrl-c:x"]}, "there is no node 'x' in the graph"),
        ({"ignore": [3]}, "a key to ignore"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        crash_test(graph_of(a=lambda state: {"a": 1}), **arguments)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes a StateGraph or FILE\.py:GRAPH, found int"):
        crash_test(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"no such file: .*nothing\.py"):
        crash_test(f"{tmp_path}/nothing.py:graph")
    with pytest.raises(ConfigError, match="need the graph itself"):
        crash_test("page.py:graph", resources={"a": 1})


# How it ends


def test_a_stop_ends_the_test_and_the_process_under_way() -> None:
    stop = Stop()

    def watch(plan: Any, number: int) -> None:
        if number == 1:
            stop.set("enough")

    with pytest.raises(RunInterruptedError, match=r"the crash test was stopped \(enough\)"):
        crash_test(graph_of(a=lambda state: {"a": 1}), watch=watch, stop=stop)


def test_what_a_killed_process_had_started_ends_with_it(tmp_path: Path) -> None:
    """Whatever is in its session: a program that a node left behind, for one."""
    started = tmp_path / "started"

    def leaves(state: State) -> dict[str, Any]:
        process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        with started.open("a") as file:
            file.write(f"{process.pid}\n")
        return {"a": 1}

    check_all(crash_test(graph_of(a=leaves), points=1))
    pids = [int(line) for line in started.read_text().split()]
    assert len(pids) >= 4
    for pid in pids:
        until = time.monotonic() + 60
        while is_alive(pid):
            assert time.monotonic() < until, f"process {pid} is left"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
