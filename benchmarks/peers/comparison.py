"""One run of all: every peer in a process of its own, in turns; medians and ratios to tau.

    python -m benchmarks.peers [--quick] [--only PART ...] [--dir DIRECTORY]

A peer whose library is not installed is left out. The directory must lie on a real disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers import behaviour
from benchmarks.peers.worker import PEERS
from benchmarks.peers.workloads import LARGE

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 90.0
"""Seconds that one task of one peer may take."""
ENOUGH = 10.0
"""Seconds after which a peer has no further turn at one workload."""
PARTS = ("syncs", "step", "untouched", "growing", "resume", "many", "behaviour")


class Worker:
    """The process of one peer."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        command = [sys.executable, "-m", "benchmarks.peers.worker", name]
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment()
            )
        first = self._reply(LIMIT)
        self.absent: str = first.get("absent", "")
        self.facts: dict[str, Any] = first.get("ok", {})

    def ask(self, task: str, folder: Path, *, times: int = 1, seconds: float = LIMIT, **arguments: Any) -> list[Any]:
        """The replies of so many children at once, each a dict of ``ok``, ``error``, ``ended`` or ``late``."""
        folder.mkdir(parents=True, exist_ok=True)
        request = {"task": task, "folder": str(folder), "arguments": arguments, "times": times, "seconds": seconds}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        found: list[Any] = self._reply(seconds + 10)
        return found

    def _reply(self, seconds: float) -> Any:
        out = self.process.stdout
        assert out is not None
        if not select.select([out], [], [], seconds)[0]:
            self.process.kill()
            raise RuntimeError(f"{self.name} does not answer any more")
        return json.loads(out.readline() or b'{"absent": "it ended while it was loaded"}')

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(10)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}


class Comparison:
    def __init__(self, root: Path, *, quick: bool) -> None:
        self.root, self.quick = root, quick
        self.numbers = iter(range(10**9))
        self.workers: list[Worker] = []

    def open(self) -> None:
        for name in PEERS:
            worker = Worker(name, self.root / "log")
            if worker.absent:
                print(f"{name}: left out, {worker.absent}")
                worker.close()
            else:
                self.workers.append(worker)
                found = ", ".join(f"{package} {version(package)}" for package in worker.facts["packages"])
                print(f"{name}: {found}; {worker.facts['configured']}")

    def of(self, part: str) -> list[Worker]:
        return [worker for worker in self.workers if worker.facts["only"] in ("", part)]

    def place(self) -> Path:
        return self.root / f"at{next(self.numbers)}"

    def once(self, worker: Worker, task: str, **arguments: Any) -> dict[str, Any]:
        """One task in a directory of its own, which is removed after it."""
        place = self.place()
        try:
            found: dict[str, Any] = worker.ask(task, place, **arguments)[0]
            return found
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def turns(self, part: str, title: str, rounds: int, task: str, **arguments: Any) -> None:
        """The peers one after the other, so many times; a table of medians, and of ratios turn by turn."""
        found: dict[str, list[dict[str, Any]]] = {worker.name: [] for worker in self.of(part)}
        spent = dict.fromkeys(found, 0.0)
        syncs = []
        for _ in range(rounds):
            for worker in self.of(part):
                if spent[worker.name] > ENOUGH or (found[worker.name] and "ok" not in found[worker.name][-1]):
                    continue
                syncs.append(self.lone_sync())
                began = time.monotonic()
                found[worker.name].append(self.once(worker, task, **arguments))
                spent[worker.name] += time.monotonic() - began
        table(title, found)
        print(f"  a lone fsync before each: {statistics.median(syncs):.2f} ms ({min(syncs):.2f} to {max(syncs):.2f})")

    def lone_sync(self) -> float:
        """Milliseconds, the median of 10: how busy the disk is with other things."""
        times = []
        with (self.root / "lone").open("wb", buffering=0) as file:
            for _ in range(10):
                file.write(os.urandom(4096))
                began = time.perf_counter()
                os.fsync(file.fileno())
                times.append((time.perf_counter() - began) * 1000)
        return statistics.median(times)

    def step(self) -> None:
        count, rounds = (50, 3) if self.quick else (100, 9)
        title = f"A durable step: 1 kB of state, one key read and set; {count} steps, {rounds} turns"
        self.turns("step", title, rounds, "step", count=count)

    def untouched(self) -> None:
        count, rounds = (12, 1) if self.quick else (20, 2)
        for kind in LARGE:
            found: dict[str, list[dict[str, Any]]] = {}
            for _ in range(rounds):
                for worker in self.of("untouched"):
                    self.large(found, worker, kind, count, lenient=False)
                    if worker.facts["lenient"] and "error" in found[worker.name][-1]:
                        self.large(found, worker, kind, count, lenient=True)
            table(f"10 MB untouched, {kind}: a step, and the store after {count} steps; {rounds} turns", found)
        for worker in self.of("untouched"):
            if worker.facts["lenient"]:
                print(f"  {worker.name}*: with {worker.facts['lenient']}")

    def large(self, found: dict[str, list[Any]], worker: Worker, kind: str, count: int, *, lenient: bool) -> None:
        """One turn of one peer; the first also looks whether what comes back is what was stored."""
        replies = found.setdefault(f"{worker.name}*" if lenient else worker.name, [])
        if replies and "error" in replies[-1]:
            return
        replies.append(self.once(worker, "untouched", count=count, kind=kind, lenient=lenient))
        if len(replies) == 1:
            self.check_back(worker, kind, replies[0], lenient=lenient)

    def check_back(self, worker: Worker, kind: str, reply: dict[str, Any], *, lenient: bool) -> None:
        """Storing something quickly is worth nothing if it is not what comes back."""
        if "ok" in reply:
            back = self.after_a_kill(worker, "value", kind, path=False, lenient=lenient)
            if back != "exact":
                reply["note"] = f"but after a resume it is {back}"

    def growing(self) -> None:
        count = 200 if self.quick else 1000
        title = f"A list that grows by 1 kB a step: {count:,} steps, and the store after them"
        self.turns("growing", title, 1, "growing", count=count)

    def resume(self) -> None:
        count, rounds = (500, 3) if self.quick else (10_000, 5)
        found: dict[str, list[dict[str, Any]]] = {}
        places = {}
        for worker in self.of("resume"):
            places[worker.name] = self.place()
            made = worker.ask("lengthen", places[worker.name], count=count)[0]
            found[worker.name] = [] if made == {"ended": 0} else [made]
        for _ in range(rounds):
            for worker in self.of("resume"):
                if not found[worker.name] or "ok" in found[worker.name][-1]:
                    found[worker.name].append(self.killed_again(worker, places[worker.name]))
        for place in places.values():
            shutil.rmtree(place, ignore_errors=True)
        table(f"From resume to the first node, after {count:,} checkpoints and a kill; {rounds} turns", found)

    def killed_again(self, worker: Worker, place: Path) -> dict[str, Any]:
        """Resume a copy, so that every turn finds the same store."""
        copy = self.place()
        shutil.copytree(place, copy)
        found: dict[str, Any] = worker.ask("first_node", copy)[0]
        shutil.rmtree(copy, ignore_errors=True)
        return found

    def many(self) -> None:
        runs, rounds = (40, 3) if self.quick else (200, 5)
        title = f"{runs} runs of 10 async nodes at once in one event loop, up to {rounds} turns"
        self.turns("many", title, rounds, "many", runs=runs, nodes=10)

    def syncs(self) -> None:
        """Whether a step is on disk when the next begins: its fsyncs, counted under strace."""
        print("\nSynced to disk: fsync and fdatasync calls a step (1 kB, one key set)")
        if shutil.which("strace") is None:
            print("  strace is not installed")
            return
        for worker in self.of("syncs"):
            few, more = (self.traced(worker.name, count) for count in (20, 70))
            each = (more - few) / 50
            verdict = "every step" if each >= 0.99 else "not every step"
            behind = ", after the next has begun" if worker.facts["behind"] else ""
            print(f"  {worker.name:18} {each:5.2f}  {verdict}{behind}")

    def traced(self, name: str, count: int) -> int:
        place = self.place()
        place.mkdir()
        request = json.dumps({"task": "step", "folder": str(place), "arguments": {"count": count}})
        trace = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o", str(place / "trace")]
        command = [*trace, sys.executable, "-m", "benchmarks.peers.worker", name, request]
        subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, timeout=LIMIT, check=True)
        lines = (place / "trace").read_text("utf-8", "replace").splitlines()
        shutil.rmtree(place, ignore_errors=True)
        return sum("sync(" in line for line in lines)

    def behaviour(self) -> None:
        for worker in self.of("behaviour"):
            print(f"\n{worker.name}")
            for what, observed in self.observations(worker):
                print(f"  {what:36} {observed}", flush=True)

    def observations(self, worker: Worker) -> Iterator[tuple[str, str]]:
        trials = 2 if self.quick else 5
        for scenario, what in (("at once", "kill -9 at the start of c"), ("kill", "kill -9 0.2 s into c")):
            paths = sorted({self.after_a_kill(worker, scenario) for _ in range(trials)})
            yield f"{what}, {trials} times", " | ".join(paths)
        yield "c, pending, renamed to c2", self.after_a_kill(worker, "c renamed")
        yield "b, finished, renamed to b2", self.after_a_kill(worker, "b renamed")
        yield "b, finished, edited", self.after_a_kill(worker, "b edited")
        undisturbed = shown(self.once(worker, "begin", scenario="in place", value="", lenient=False, dies=False))
        resumed = self.after_a_kill(worker, "in place", path=False)
        yield "b appends to a's list: c sees", f"{undisturbed}; after a kill and a resume {resumed}"
        for value in behaviour.VALUES:
            yield f"{value}: c sees, resumed", self.after_a_kill(worker, "value", value, path=False)
        yield "two resume at once", self.two(worker)

    def after_a_kill(
        self, worker: Worker, scenario: str, value: str = "", *, path: bool = True, lenient: bool = False
    ) -> str:
        """One process is killed in c, another resumes: which nodes were started in all, or what c saw at last."""
        place = self.place()
        given = {"scenario": scenario, "value": value, "lenient": lenient}
        first = worker.ask("begin", place, **given, dies=True)[0]
        if "error" in first:
            return f"refused: {shown(first)}"
        second = worker.ask("go_on", place, **given, seconds=30.0)[0]
        names = " ".join(behaviour.Marks(place).names())
        shutil.rmtree(place, ignore_errors=True)
        if not path:
            return shown(second)
        if "ok" not in second:
            return f"ran {names}; {shown(second)}"
        lacks = [name for name in behaviour.NAMES if name not in second["ok"]["nodes"]]
        return f"ran {names}; " + (f"NO ERROR, and the result lacks {' and '.join(lacks)}" if lacks else "finished")

    def two(self, worker: Worker) -> str:
        place = self.place()
        given = {"scenario": "two", "value": "", "lenient": False}
        worker.ask("begin", place, **given, dies=True)
        replies = worker.ask("go_on", place, **given, times=2, seconds=30.0)
        names = behaviour.Marks(place).names()[3:]
        shutil.rmtree(place, ignore_errors=True)
        outcomes = "; ".join(sorted("finished" if "ok" in reply else shown(reply) for reply in replies))
        return f"c was run {times(names.count('c'))}, d {times(names.count('d'))}: {outcomes}"


def times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def shown(reply: dict[str, Any]) -> str:
    if "ok" in reply:
        return str(reply["ok"]["seen"])
    if "ended" in reply:
        return f"the process ended with {reply['ended']}"
    return "took too long" if "late" in reply else str(reply["error"])[:160]


def table(title: str, found: dict[str, list[dict[str, Any]]]) -> None:
    """Medians of every number, and the median of its ratios to tau's in the same turn."""
    print(f"\n{title}", flush=True)
    ours = [reply["ok"] for reply in found.get("tau", []) if "ok" in reply]
    for name, replies in found.items():
        numbers = [reply["ok"] for reply in replies if "ok" in reply]
        cells = [cell(unit, numbers, ours, of_tau=name == "tau") for unit in numbers[0]] if numbers else []
        failed = [f"could not: {shown(reply)}" for reply in replies if "ok" not in reply]
        failed += [reply["note"] for reply in replies if "note" in reply]
        print(f"  {name:18} {'  '.join(cells + failed)}", flush=True)


def cell(unit: str, numbers: list[dict[str, float]], ours: list[dict[str, float]], *, of_tau: bool) -> str:
    text = f"{statistics.median(one[unit] for one in numbers):>9,.4g} {unit}"
    if of_tau or not ours:
        return text + " " * 11
    ratio = statistics.median(one[unit] / own[unit] for one, own in zip(numbers, ours, strict=False))
    return f"{text} ({ratio:>6.3g} x)"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: a look, not a measurement")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--dir", help="a directory on the disk that counts; by default that of temporary files")
    options = parser.parse_args()
    began = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="tau-peers-", dir=options.dir))
    comparison = Comparison(root, quick=options.quick)
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    try:
        comparison.open()
        for part in options.only:
            getattr(comparison, part)()
    finally:
        for worker in comparison.workers:
            worker.close()
        shutil.rmtree(root, ignore_errors=True)
    print(f"\n{time.monotonic() - began:.0f} s")
    return 0
