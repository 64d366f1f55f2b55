"""One owner: of any number of processes one wins, and nobody who was superseded can write."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from engine_steps import Steps, config
from resuming import resume_in_process

from tau import ExecutionError, LeaseLostError, RunOwnedError, State, StateGraph, Stop, open_store
from tau.stores.contract import Store

WORKER = """
import os, sys
from pathlib import Path
from tau import CheckpointConfig, GraphConfig, StateGraph

url, effects, mode, lease = sys.argv[1:5]

def note(text):
    fd = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (text + "\\n").encode())
    os.close(fd)

def first(state):
    note("first")
    return {"first": 1}

def second(state):
    note(f"second {os.getpid()}")
    if mode == "hang":
        print("inside", flush=True)
        sys.stdin.readline()
    return {"second": 2}

def last(state):
    note("last")
    return {"last": 3}

config = GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(
    store=url, interval=1, preserve=True, lease=float(lease)))
graph = StateGraph(config)
for name, node in (("first", first), ("second", second), ("last", last)):
    graph.add_node(name, node, version="1")
graph.sequence("first", "second", "last")
try:
    if mode == "resume":
        final = graph.resume("r", wait=float(sys.argv[5]))
    else:
        final = graph.execute({}, run_id="r")
    print("final", sorted(final), flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.fixture(params=["sqlite", "file", "postgres", "redis", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param in ("postgres", "redis", "s3"):
        return str(request.getfixturevalue(f"{request.param}_url"))
    return f"sqlite:///{tmp_path}/runs.db" if request.param == "sqlite" else f"file://{tmp_path}/runs"


def freeze(process: subprocess.Popen[str], url: str) -> None:
    """Stop it; on SQLite outside of a commit: one that is stopped in the middle locks the file for everybody."""
    with closing(apsw.Connection(url.removeprefix("sqlite:///") if url.startswith("sqlite:") else ":memory:")) as file:
        file.set_busy_timeout(60_000)
        file.execute("begin immediate")
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        file.execute("rollback")


class Worker:
    """A real process that runs, hangs in or resumes the run ``r``."""

    def __init__(self, tmp_path: Path, url: str, mode: str, lease: float = 60.0, wait: float = 0.0) -> None:
        script = tmp_path / "worker.py"
        script.write_text(textwrap.dedent(WORKER))
        self.effects = tmp_path / "effects"
        self.process = subprocess.Popen(
            [sys.executable, str(script), url, str(self.effects), mode, str(lease), str(wait)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if mode == "hang":
            assert self.line() == "inside"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.end()

    def end(self) -> str:
        line = self.line()
        self.process.communicate(timeout=60)
        return line

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=60)


def test_a_live_owner_is_named_and_left_alone(url: str, tmp_path: Path) -> None:
    owner = Worker(tmp_path, url, "hang")
    refused = Worker(tmp_path, url, "resume").end()
    assert refused.startswith(f"RunOwnedError run 'r' is owned by pid {owner.process.pid} on ")
    assert owner.go_on() == "final ['first', 'last', 'second']"


def test_a_dead_owner_on_this_host_is_superseded_at_once(url: str, tmp_path: Path) -> None:
    owner = Worker(tmp_path, url, "hang")
    assert [row.status for row in open_store(url).runs()] == ["running"]
    owner.kill()
    assert [row.status for row in open_store(url).runs()] == ["dead"]
    assert [row.run_id for row in open_store(url).runs(status="dead")] == ["r"]
    assert open_store(url).runs(status="running") == []
    successor = Worker(tmp_path, url, "resume")
    assert successor.end() == "final ['first', 'last', 'second']"
    effects = owner.effects.read_text().split("\n")
    assert effects == ["first", f"second {owner.process.pid}", f"second {successor.process.pid}", "last", ""]


def test_an_owner_frozen_past_its_lease_is_superseded_and_cannot_write_again(url: str, tmp_path: Path) -> None:
    frozen = Worker(tmp_path, url, "hang", lease=1.0)
    freeze(frozen.process, url)
    try:
        successor = Worker(tmp_path, url, "resume", wait=30.0)
        assert successor.end() == "final ['first', 'last', 'second']"
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    assert frozen.go_on().startswith("LeaseLostError")
    assert open_store(url).load("r").checkpoint_node == "last"
    assert frozen.effects.read_text().count("last") == 1


def test_a_lease_that_ran_out_and_that_nobody_took_is_simply_renewed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    sleeper = Worker(tmp_path, url, "hang", lease=0.2)
    sleeper.process.send_signal(signal.SIGSTOP)
    store = open_store(url)
    while (store.lease("r").expires_in or 0.0) > 0.0:
        pass
    sleeper.process.send_signal(signal.SIGCONT)
    assert sleeper.go_on() == "final ['first', 'last', 'second']"


def test_a_long_node_keeps_its_lease(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    owner = Worker(tmp_path, url, "hang", lease=0.5)
    store = open_store(url)
    counters = set()
    while len(counters) < 4:
        lease = store.lease("r")
        assert lease is not None
        counters.add(lease.counter)
    assert Worker(tmp_path, url, "resume").end().startswith("RunOwnedError")
    assert owner.go_on().startswith("final")


@pytest.mark.parametrize(
    "url", ["sqlite", "file", "postgres", "redis", pytest.param("s3", marks=pytest.mark.deep)], indirect=True
)
@pytest.mark.parametrize("round_", [0, *(pytest.param(more, marks=pytest.mark.deep) for more in (1, 2))])
def test_of_many_processes_that_resume_at_once_one_runs(url: str, tmp_path: Path, round_: int) -> None:
    graph = StateGraph(config(open_store(url)))
    graph.add_node("start", lambda state: None, version="1")
    graph.add_node("work", lambda state: 1 / 0, version="1")
    graph.sequence("start", "work")
    with pytest.raises(ExecutionError):
        graph.execute({}, run_id="r")
    open_store(url).close()
    count = 8
    spawn = multiprocessing.get_context("spawn")
    barrier, queue = spawn.Barrier(count), spawn.Queue()
    effects = tmp_path / "effects"
    processes = [
        spawn.Process(target=resume_in_process, args=(url, str(effects), barrier, queue)) for _ in range(count)
    ]
    for process in processes:
        process.start()
    answers = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert effects.read_text() == "work\n"
    assert {value for kind, value in answers if kind == "ok"} == {1}
    assert {kind for kind, _ in answers} <= {"ok", "owned"}


def test_of_many_threads_that_resume_at_once_one_runs(store: Store) -> None:
    for _ in range(20):
        store.delete("r")
        steps = Steps(store, names="ab")
        steps.failing = {"b"}
        with pytest.raises(ExecutionError):
            steps.graph.execute({}, run_id="r")
        steps.failing = set()
        steps.ran.clear()
        barrier = threading.Barrier(6)
        results: list[Any] = []

        def resume(barrier: threading.Barrier = barrier, steps: Steps = steps, results: list[Any] = results) -> None:
            graph = steps.build()
            barrier.wait()
            try:
                results.append(graph.resume("r")["path"])
            except RunOwnedError as error:
                results.append(error)

        threads = [threading.Thread(target=resume) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert steps.ran == ["b"]
        assert [result for result in results if not isinstance(result, RunOwnedError)]
        assert len(results) == 6


def test_somebody_who_waits_gets_the_result_of_the_one_who_ran(store: Store) -> None:
    entered, leave = threading.Event(), threading.Event()
    graph = StateGraph(config(store))
    graph.add_node("slow", lambda state: (entered.set(), leave.wait(30), {"x": 1})[2], version="1")
    graph.sequence("slow")
    results: list[Any] = []
    owner = threading.Thread(target=lambda: results.append(graph.execute({}, run_id="r")["x"]))
    owner.start()
    entered.wait(30)
    with pytest.raises(RunOwnedError):
        graph.resume("r")
    waiter = threading.Thread(target=lambda: results.append(graph.resume("r", wait=30.0)["x"]))
    waiter.start()
    leave.set()
    owner.join()
    waiter.join()
    assert results == [1, 1]


def test_a_stop_ends_the_wait_for_an_owner(store: Store) -> None:
    entered, leave, stop = threading.Event(), threading.Event(), Stop()
    graph = StateGraph(config(store))
    graph.add_node("slow", lambda state: (entered.set(), leave.wait(30), None)[2], version="1")
    graph.sequence("slow")
    owner = threading.Thread(target=lambda: graph.execute({}, run_id="r"))
    owner.start()
    entered.wait(30)
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(RunOwnedError):
        graph.resume("r", wait=3600.0, stop=stop)
    leave.set()
    owner.join()


def test_a_run_whose_commit_was_overtaken_loses_its_lease(store: Store) -> None:
    steps = Steps(store, names="ab")
    graph = StateGraph(config(store))

    def overtaken(state: State) -> None:
        summary = store.summary("r")
        assert summary is not None
        assert summary.owner is not None
        store.release("r", summary.owner.nonce)
        other = StateGraph(config(store))
        other.add_node("a", lambda state: {"by": "other"}, version="1")
        other.add_node("b", lambda state: None, version="1")
        other.sequence("a", "b")
        other.resume("r")

    graph.add_node("a", overtaken, version="1")
    graph.add_node("b", lambda state: pytest.fail("went on"), version="1")
    graph.sequence("a", "b")
    with pytest.raises(LeaseLostError):
        graph.execute({}, run_id="r")
    assert store.load("r")["by"] == "other"
    assert steps.ran == []


@pytest.mark.parametrize("url", ["sqlite", "file", "postgres", "redis"], indirect=True)
def test_a_store_opened_before_a_fork_works_in_both(url: str) -> None:
    store = open_store(url)
    steps = Steps(store, names="ab")
    steps.graph.execute({}, run_id="before")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            final = steps.build().execute({"in": "child"}, run_id="child")
            code = 0 if final["in"] == "child" and "before" in store.list() else 2
        finally:
            os._exit(code)
    steps.build().execute({"in": "parent"}, run_id="parent")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert sorted(store.list()) == ["before", "child", "parent"]
    assert store.load("child")["in"] == "child"


def test_a_run_that_gets_on_between_its_deaths_is_not_refused(tmp_path: Path) -> None:
    """On machines that are taken away often, a long node with steps gets there all the same."""
    script = tmp_path / "taken.py"
    script.write_text(
        textwrap.dedent(f"""
        import os
        from tau import CheckpointConfig, Context, GraphConfig, StateGraph
        def work(state, context: Context):
            for number in range(8):
                context.step(f"step {{number}}", lambda: number)
                if number == context.attempt - 1 and number < 7:
                    os._exit(9)
            return {{"attempt": context.attempt}}
        graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(
            store={f"sqlite:///{tmp_path}/runs.db"!r}, interval=1, preserve=True, max_crashes=1)))
        graph.add_node("work", work)
        graph.sequence("work")
        print(graph.execute({{}}, run_id="r", if_exists="resume")["attempt"])
        """)
    )
    ends = [
        subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False) for _ in range(8)
    ]
    assert [end.returncode for end in ends] == [9] * 7 + [0], ends[-1].stderr
    assert ends[-1].stdout.strip() == "8"


def test_a_run_that_kills_its_process_again_and_again_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    script = tmp_path / "poison.py"
    script.write_text(
        textwrap.dedent(f"""
        import os
        from tau import CheckpointConfig, GraphConfig, StateGraph, Context
        def poison(state, context):
            print("attempt", context.attempt, context.visit, flush=True)
            os._exit(9)
        graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(
            store={url!r}, interval=1, preserve=True, max_crashes=3)))
        graph.add_node("poison", poison)
        graph.sequence("poison")
        try:
            graph.execute({{}}, run_id="r", if_exists="resume")
        except Exception as error:
            print(type(error).__name__, error)
        """)
    )
    said = [
        subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False).stdout.strip()
        for _ in range(5)
    ]
    assert said[:4] == ["attempt 1 1", "attempt 2 1", "attempt 3 1", "attempt 4 1"]
    assert said[4].startswith("LimitExceededError run 'r' was killed 4 times in a row at node 'poison'")
