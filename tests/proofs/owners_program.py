"""Owners of runs, each a process: ``python owners_program.py URL EFFECTS`` makes them, as it is told on its stdin.

It forks them before it has opened anything, and answers each line of JSON with one. Every owner appends a line to the
file of effects for each node that it runs.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from tau import CheckpointConfig, GraphConfig, State, StateGraph
from tau.errors import RunOwnedError
from tau.stores import open_store
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

NODES = "abcd"
LEASE = 1.0
LEASE_ON_S3 = 5.0  # a request has the lease's time, and the stand-in answers one after the other
PATIENCE = 120.0


class Owners:
    """Makes processes that run the graph. ``strikes`` says what befalls this process in a node."""

    def __init__(self, url: str, effects: str) -> None:
        self.url, self.effects = url, effects
        self.strikes: dict[str, Callable[[], object]] = {}

    def warm(self) -> None:
        """Load what owners need, so that not each of them has to."""
        open_store(self.url)  # it is not opened before it is used
        effects, self.effects = self.effects, os.devnull
        graph = self.graph(MemoryStore())
        graph.execute({"number": 1}, run_id="r")
        graph.resume("r")
        self.effects = effects

    def graph(self, store: Store | None = None) -> StateGraph:
        lease = LEASE_ON_S3 if self.url.startswith("s3:") else LEASE
        checkpoint = CheckpointConfig(store=store or open_store(self.url), interval=1, preserve=True, lease=lease)
        graph = StateGraph(GraphConfig("proof", observer=None, checkpoint=checkpoint))
        for name in NODES:
            graph.add_node(name, self._node(name), version="1")
        graph.sequence(*NODES)
        return graph

    def _node(self, name: str) -> Callable[[State], dict[str, Any]]:
        def node(state: State) -> dict[str, Any]:
            self.note(f"{state.run_id} {name}")
            self.strikes.get(name, lambda: None)()
            return {"path": state.get("path", "") + name, name: state["number"] * 7}

        return node

    def note(self, line: str) -> None:
        descriptor = os.open(self.effects, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    def fork(self, work: Callable[[], Any]) -> tuple[int, int]:
        """A child that does the work, and the descriptor of what it tells of that."""
        receive, send = os.pipe()
        pid = os.fork()
        if pid:
            os.close(send)
            return pid, receive
        try:
            os.close(receive)
            told: Any = {"done": work()}
        except BaseException as error:
            told = {"error": type(error).__name__, "text": "".join(traceback.format_exception(error))[-3000:]}
        os.write(send, json.dumps(told).encode())
        os._exit(0)

    def told(self, pid: int, receive: int) -> Any:
        """What a child told, after its end; `None` where it was killed."""
        with open(receive, "rb") as pipe:
            data = pipe.read()
        os.waitpid(pid, 0)
        return json.loads(data) if data else None

    def execute(self, run: str) -> str:
        return str(self.graph().execute({"number": len(run)}, run_id=run, if_exists="resume")["path"])

    # What it may be told

    def die(self, runs: list[str], node: str) -> list[Any]:
        """Begin runs whose owners are killed in that node."""
        self.strikes = {node: lambda: os.kill(os.getpid(), signal.SIGKILL)}
        children = [self.fork(lambda run=run: self.execute(run)) for run in runs]
        return [self.told(*child) for child in children]

    def race(self, run: str, count: int) -> list[Any]:
        """So many processes resume a run at the same moment."""
        self.strikes = {}
        gate, opener = os.pipe()

        def contend() -> str:
            os.close(opener)
            graph = self.graph()
            graph.freeze()
            os.read(gate, 1)
            return str(graph.resume(run)["path"])

        children = [self.fork(contend) for _ in range(count)]
        os.close(gate)
        os.close(opener)
        return [self.told(*child) for child in children]

    def freeze(self, runs: list[str], node: str) -> None:
        """Begin runs whose owners are stopped in that node, until `thaw`."""
        self.strikes = {node: lambda: os.kill(os.getpid(), signal.SIGSTOP)}
        self.frozen = {run: self.fork(lambda run=run: self.execute(run)) for run in runs}
        for run, child in self.frozen.items():
            ended = os.waitid(os.P_PID, child[0], os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if ended is not None and ended.si_code != os.CLD_STOPPED:
                told = self.told(*self.frozen.pop(run))
                for pid, _ in self.frozen.values():
                    os.kill(pid, signal.SIGKILL)  # a stopped one would live on and hold the pipe to the test open
                raise RuntimeError(f"the owner of {run} was not stopped in {node}; it told: {told}")

    def inherit(self, runs: list[str]) -> list[Any]:
        """Resume runs, each by a process, which waits for its owner's lease to end."""
        self.strikes = {}
        children = [self.fork(lambda run=run: str(self.graph().resume(run, wait=PATIENCE)["path"])) for run in runs]
        return [self.told(*child) for child in children]

    def thaw(self) -> dict[str, Any]:
        """Let the stopped owners go on, and tell how each ended."""
        for pid, _ in self.frozen.values():
            os.kill(pid, signal.SIGCONT)
        return {run: self.told(*child) for run, child in self.frozen.items()}

    def soak(self, runs: list[str], workers: int, kills: int, seed: int) -> dict[str, Any]:
        """Workers do all runs; now and then one is killed and another begins. The first is spared, and tells how much
        memory it had after half of what it did, and at the end, each time with all runs read."""
        self.strikes = {}
        drawn = random.Random(seed)
        witness = self.fork(lambda: self.work(runs, 0))
        others = [self.fork(lambda number=number: self.work(runs, number)) for number in range(1, workers)]
        marks = sorted(drawn.randrange(len(runs) * len(NODES)) for _ in range(kills))
        killed = 0
        for mark in marks:
            while self.progress() < mark:
                if os.waitid(os.P_PID, witness[0], os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    break
            victim = drawn.randrange(len(others))
            os.kill(others[victim][0], signal.SIGKILL)
            killed += self.told(*others[victim]) is None
            others[victim] = self.fork(lambda number=workers + killed: self.work(runs, number))
        return {"witness": self.told(*witness), "others": [self.told(*one) for one in others], "killed": killed}

    def progress(self) -> int:
        try:
            return os.path.getsize(self.effects) // len("run-00000 a\n")
        except FileNotFoundError:
            return 0

    def work(self, runs: list[str], number: int) -> list[int]:
        """Do what is left of the runs, until all are finished; gives the memory of this process, in pages."""
        graph = self.graph()
        over = {row.run_id for row in graph.store.runs(status="finished")}
        left = [run for run in runs if run not in over]
        count = len(left)
        random.Random(number).shuffle(left)
        pages: list[int] = []
        half = max(1, count // 2)
        while left:
            run = left.pop()
            try:
                assert graph.execute({"number": len(run)}, run_id=run, if_exists="resume")["path"] == NODES
            except RunOwnedError:
                left.insert(0, run)
            if len(left) in (count - half, 0):
                for each in runs:  # so that the store's bounded caches are full both times
                    graph.store.read(each)
                gc.collect()
                with open("/proc/self/statm") as file:
                    pages.append(int(file.read().split()[1]))
        return [pages[0], pages[-1]] if pages else []


def main(url: str, effects: str) -> None:
    owners = Owners(url, effects)
    owners.warm()
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(owners, name)(*arguments)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
