"""Stores of servers when things go wrong: replies get lost, the server is restarted, falls silent, or forgets."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import traceback
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace
from servers import Served, own_served, served

from tau import CheckpointConfig, GraphConfig, StateGraph
from tau.errors import StoreError, StoreUnavailableError
from tau.observers import Recorder
from tau.stores.contract import Batch, Store
from tau.testing.store_contract.batches import batch, one, owner

__all__ = ["own_served", "served"]

PATIENCE = 60.0


def chain(store: Store, ran: list[int], nodes: int, **options: Any) -> StateGraph:
    """A graph of that many nodes, each of which notes that it ran."""
    config = GraphConfig(
        "chain", checkpoint=CheckpointConfig(store=store, interval=1, preserve=True, patience=20.0), **options
    )
    graph = StateGraph(config)

    def make(number: int) -> Any:
        def node(state: Any) -> Any:
            ran.append(number)
            return {"count": state.get("count", 0) + 1, f"k{number}": "x" * 100}

        return node

    names = [f"n{number}" for number in range(nodes)]
    for number, name in enumerate(names):
        graph.add_node(name, make(number), version="1")
    for left, right in pairwise(names):
        graph.add_edge(left, right)
    graph.set_entry_point(names[0])
    graph.set_exit_point(names[-1])
    return graph


# Lost requests and lost replies


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize(("nodes", "each"), [(20, 3), pytest.param(2000, 2, marks=pytest.mark.deep)])
def test_a_lost_reply_is_neither_a_conflict_nor_a_second_commit(
    served: Served, how: str, nodes: int, each: int
) -> None:
    """What was committed is found by its own records; what was not is committed again."""
    with served.cutter(served.address, lambda number: how if number % each == 1 else "") as cutter:
        store = served.behind(cutter)
        ran: list[int] = []
        graph = chain(store, ran, nodes, max_iterations=nodes + 1)
        final = graph.execute({}, run_id="r")
        assert ran == list(range(nodes))
        assert final["count"] == nodes
        assert cutter.cuts >= nodes // each
        store.close()
    direct = served.make(served.url)
    assert [entry.node for entry in chain(direct, [], nodes, max_iterations=nodes + 1).history("r")] == [
        f"n{number}" for number in range(nodes)
    ]
    direct.close()


def test_of_many_runs_in_one_loop_none_is_lost_with_its_replies(served: Served) -> None:
    """They share commits; each is found, or done again, by itself."""
    with served.cutter(served.address, lambda number: ("", "after", "", "before")[number % 4]) as cutter:
        store = served.behind(cutter)
        graph = StateGraph(
            GraphConfig(
                "many",
                max_iterations=10,
                checkpoint=CheckpointConfig(store=store, interval=1, preserve=True, patience=20.0),
            ),
        )
        ran: list[tuple[str, str]] = []

        async def step(state: Any) -> Any:
            ran.append((state.run_id, state.get("x", 0)))
            return {"x": state.get("x", 0) + 1}

        graph.add_node("step", step)
        graph.add_node("end", lambda state: None, version="1")
        graph.add_edge("step", "end", lambda state: state["x"] == 8)
        graph.add_edge("step", "step")
        graph.set_entry_point("step")
        graph.set_exit_point("end")

        async def one_run(number: int) -> Any:
            while True:
                try:
                    return await graph.aexecute({}, run_id=f"r{number}", if_exists="resume", wait=5.0)
                except StoreUnavailableError:  # a claim does not wait
                    continue

        async def all_runs() -> list[Any]:
            return await asyncio.gather(*(one_run(number) for number in range(30)))

        finals = asyncio.run(all_runs())
        assert [final["x"] for final in finals] == [8] * 30
        assert sorted(ran) == sorted((f"r{number}", count) for number in range(30) for count in range(8))
        assert cutter.cuts >= 3
        store.close()


# Restarts


def test_a_session_that_the_server_ended_costs_no_error(own_served: Served) -> None:
    """The next call begins another one, without the patience of a run: nothing had been sent."""
    store = own_served.make(own_served.url)
    assert one(store, batch("r", 0)) == 1
    for position, how in enumerate(([], [signal.SIGINT]), 1):
        own_served.server.restart(*how)
        assert one(store, batch("r", position)) == position + 1
        assert len(store.read("r")) == position + 1
    store.close()


@pytest.mark.parametrize(("restarts", "runs"), [(4, 4), pytest.param(60, 8, marks=pytest.mark.deep)])
def test_runs_go_on_through_restarts_of_the_server(own_served: Served, restarts: int, runs: int) -> None:
    """Each crash of it comes while all of them are at work; no node runs twice, none is lost."""
    store = own_served.make(own_served.url)
    recorder = Recorder()
    at = threading.Semaphore(0)
    go_on = threading.Event()
    begun = threading.Barrier(runs)
    ran: list[tuple[int, int]] = []
    problems: list[BaseException] = []

    def work(number: int) -> None:
        graph = StateGraph(
            GraphConfig(
                "loop", max_iterations=10**6, checkpoint=CheckpointConfig(store=store, interval=1, preserve=True)
            ),
            observer=recorder,
        )

        @graph.node
        def step(state: Any) -> Any:
            count = state.get("count", 0)
            if count == 0:
                begun.wait(PATIENCE)  # to begin waits for no server
            ran.append((number, count))
            at.release()
            return {"count": count + 1}

        graph.add_edge("step", "step", lambda state: not go_on.is_set())
        graph.add_node("end", lambda state: {"done": True}, version="1")
        graph.add_edge("step", "end")
        graph.set_entry_point("step")
        graph.set_exit_point("end")
        try:
            assert graph.execute({}, run_id=f"r{number}")["done"]
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(runs)]
    for thread in threads:
        thread.start()
    for _ in range(restarts):
        for _ in range(40):
            assert at.acquire(timeout=PATIENCE), problems
        own_served.server.restart()
    for _ in range(40):
        assert at.acquire(timeout=PATIENCE), problems
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not problems, "".join(traceback.format_exception(problems[0]))
    assert len(ran) == len(set(ran))
    for number in range(runs):
        mine = [count for of, count in ran if of == number]
        assert mine == list(range(len(mine)))
        assert len(store.read(f"r{number}")) >= len(mine)
    assert any(event.type == "checkpoint.retry" for event in recorder.events)
    store.close()


def test_a_run_waits_for_a_server_that_is_down(own_served: Served) -> None:
    """Its commit is tried again; a run that begins meanwhile is told at once."""
    store = own_served.make(own_served.url)
    told = threading.Event()
    ran: list[str] = []

    def observe(event: Any) -> None:
        if event.type == "checkpoint.retry":
            told.set()

    graph = StateGraph("g", store=store, observer=observe)

    @graph.node
    def first(state: Any) -> Any:
        ran.append("first")
        own_served.server.stop()
        return {"x": 1}

    @graph.node
    def second(state: Any) -> Any:
        ran.append("second")
        return {"x": state["x"] + 1}

    graph.sequence(first, second)
    finals: list[Any] = []
    thread = threading.Thread(target=lambda: finals.append(graph.execute({}, run_id="r")))
    thread.start()
    assert told.wait(PATIENCE)
    with pytest.raises(StoreUnavailableError, match=r"cannot open [a-z]+://.*check that the server is up") as caught:
        graph.execute({}, run_id="another")
    assert caught.value.transient
    own_served.server.start()
    thread.join(PATIENCE)
    assert [final["x"] for final in finals] == [2]
    assert ran == ["first", "second"]
    store.close()


KILLED = """
import os, signal, sys
from tau import StateGraph
graph = StateGraph("g", store=sys.argv[1])
note = lambda text: (os.write(1, text.encode()), None)[1]
@graph.node
def first(state):
    note("first ")
    return {"x": 1}
@graph.node
def second(state):
    note("second ")
    if len(sys.argv) > 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": state["x"] + 1}
@graph.node
def third(state):
    note("third ")
    return {"x": state["x"] + 1}
graph.sequence(first, second, third)
final = graph.execute({}, run_id="r", if_exists="resume")
note(str(final["x"]))
"""


def test_a_run_that_was_killed_is_finished_by_another_process(served: Served) -> None:
    """At once: its owner was on this machine, so that it is dead can be seen."""
    command = [sys.executable, "-c", KILLED, served.url]
    dead = subprocess.run([*command, "kill"], capture_output=True, text=True, check=False)
    assert (dead.returncode, dead.stdout) == (-signal.SIGKILL, "first second "), dead.stderr
    after = subprocess.run(command, capture_output=True, text=True, check=False)
    assert after.stdout == "second third 3", after.stderr


# Silence


def test_a_server_that_says_nothing_is_given_up(served: Served) -> None:
    """It hangs no call for ever; what it had been told to do is found once it speaks again."""
    with served.cutter(served.address) as cutter:
        store = served.behind(cutter, timeout=0.3)
        mine = batch("r", 0)
        assert one(store, mine) == 1
        cutter.stalls.set()
        refused = one(store, batch("r", 1))
        assert isinstance(refused, StoreUnavailableError)
        assert refused.transient
        assert "no answer from the server for 0.3 s" in str(refused)
        cutter.stalls.clear()
        assert store.read("r") == [(1, mine.records[0])]
        assert one(store, batch("r", 1)) == 2
        store.close()


STOPPED = {"postgres": ("tau.stores.postgres.connection", "wait"), "redis": ("tau.stores.redis.connection", "ask")}


def test_a_client_that_was_stopped_holds_up_nobody(served: Served) -> None:
    """An owner that is frozen in the middle of its commit has no row locked, whatever it was about to do."""
    module, method = STOPPED[served.name]
    program = (
        "import os, signal, sys\n"
        "from tau.stores import open_store\n"
        f"from {module} import Session\n"
        "from tau.testing.store_contract.batches import batch, one, owner\n"
        "store = open_store(sys.argv[1])\n"
        "one(store, batch('r', 0, owner=owner('a', lease=0.0)))\n"
        f"real = Session.{method}\n"
        "def stopped(self, *rest):\n"
        "    found = real(self, *rest)\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    return found\n"
        f"Session.{method} = stopped\n"
        "print(one(store, batch('r', 1, owner=owner('a'))), one(store, batch('r', 2, owner=owner('a'))), flush=True)\n"
    )
    frozen = subprocess.Popen([sys.executable, "-c", program, served.url], stdout=subprocess.PIPE, text=True)
    try:
        os.waitid(os.P_PID, frozen.pid, os.WSTOPPED | os.WNOWAIT)
        store = served.make(served.url, timeout=5.0)
        assert one(store, batch("r", 2, owner=owner("b"))) == 3
        store.delete("other")
        frozen.send_signal(signal.SIGCONT)
        while frozen.poll() is None:
            _, status = os.waitpid(frozen.pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                frozen.send_signal(signal.SIGCONT)
            else:
                frozen.returncode = os.waitstatus_to_exitcode(status)
        assert frozen.stdout is not None
        said = frozen.stdout.read()
        assert said.startswith("2 run 'r' is at position 3, not 2"), said
        assert frozen.returncode == 0
        store.close()
    finally:
        if frozen.poll() is None:
            frozen.kill()
        frozen.communicate()


# A server that forgets


@pytest.mark.parametrize("resumed", [False, True], ids=["behind", "with another history"])
def test_an_owner_at_work_notices_that_its_server_went_back(own_served: Served, resumed: bool) -> None:
    """Put back from a backup, or failed over to a standby that was behind: it is told, and nothing is mixed, also where
    another process went on meanwhile from what the server had left, to the very position that the owner expects."""
    store = own_served.make(own_served.url)
    ran: list[str] = []

    def note(name: str, strike: Any = None) -> Any:
        def node(state: Any) -> Any:
            ran.append(name)
            if strike is not None and ran.count(name) == 1:
                strike()
            return {name: True}

        return node

    def put_back() -> None:
        own_served.server.put_back()
        if resumed:  # by a process that cannot tell that there was more
            (summary,) = store.runs()
            for position in range(summary.position, summary.position + 2):
                again = replace(summary, position=position + 1, owner=None, status="interrupted")
                assert one(store, Batch("r", position, b"t", (b"another %d" % position,), (), again)) == position + 1

    graph = StateGraph(GraphConfig("g", checkpoint=CheckpointConfig(store=store, interval=1, preserve=True)))
    nodes = {
        "a": note("a"),
        "b": note("b", own_served.server.keep),
        "c": note("c"),
        "d": note("d", put_back),
        "e": note("e"),
    }
    for name, node in nodes.items():
        graph.add_node(name, node, version="1")
    graph.sequence(*nodes)
    said = "the server has another history at position 5" if resumed else "the server went back from 5 to 3"
    with pytest.raises(StoreError, match=said) as caught:
        graph.execute({}, run_id="r")
    assert not isinstance(caught.value, StoreUnavailableError)
    assert ran == ["a", "b", "c", "d"]
    assert len(store.read("r")) == (5 if resumed else 3)
    if not resumed:
        graph.resume("r")
        assert ran == ["a", "b", "c", "d", "b", "c", "d", "e"]
        assert [entry.node for entry in graph.history("r")] == list("abcde")
    store.close()
