"""What it takes to begin again: the first resumed node, many runs at once, the import, the install."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from measure import HERE, Figure, kilobyte, looping, one_key, size_of

from tau import CheckpointConfig, ExecutionError, GraphConfig, State, StateGraph
from tau.stores.contract import Store
from tau.stores.registry import resolve_store

LIMITS = {"SQLite": 2.0, "file": 15.0}
LENGTHS = (1_000, 10_000)
PROBE = "import resumes, sys; resumes.probe(sys.argv[1])"
RUNS, NODES = 200, 10


class OnceMore:
    """Runs so many steps, then fails; resumed, it notes when it starts, and fails again."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.started = self.cpu = 0.0

    def __call__(self, state: State) -> dict[str, str]:
        self.started, self.cpu = time.perf_counter(), time.thread_time()
        if self.left == 0:
            raise RuntimeError("the end of the measurement")
        self.left -= 1
        return one_key(state)


def resume(root: Path) -> Iterator[Figure]:
    """From `resume` to the start of the first node: the graph is frozen, the store opened, the run claimed.

    Each time on a fresh copy of the store, as every resume makes the log longer.
    """
    for name, scheme in (("SQLite", "sqlite:///"), ("file", "file://")):
        places = {length: root / f"long-{length}-{name}" for length in LENGTHS}
        for length, place in places.items():
            store = resolve_store(f"{scheme}{place}/store")
            with suppress(ExecutionError):
                looping(OnceMore(length), length * 2, store).execute(kilobyte(), run_id="long")
            store.close()
        turns = []
        for _ in range(15):
            turn = {}
            for length, place in places.items():
                shutil.copytree(place, root / "copy")
                os.sync()
                copy = f"{scheme}{root}/copy/store"
                turn[length] = (*reopened(copy), in_process(copy))
                shutil.rmtree(root / "copy")
            turns.append(turn)
        for length in LENGTHS:
            walls, cpus, opened, fresh = zip(*[turn[length] for turn in turns], strict=True)
            median, least = statistics.median(walls), min(walls)
            others = f"store open before {statistics.median(opened):.2f}, fresh process {statistics.median(fresh):.2f}"
            note = f"least {least:.2f}, CPU {min(cpus):.2f}; {others} ms"
            yield Figure(
                f"first node after {length:,} checkpoints, {name}", median, LIMITS[name], "ms", note, best=least
            )
        short, long = LENGTHS
        growth = statistics.median(turn[long][0] / turn[short][0] for turn in turns)
        cpu = min(turn[long][1] for turn in turns) / min(turn[short][1] for turn in turns)
        note = f"no growth, but room for noise; CPU: {cpu:.2f} x"
        yield Figure(f"the same, {name}: 10,000 by 1,000, in turns", growth, 1.2, "x", note, best=cpu)


def in_process(url: str) -> float:
    """Milliseconds in a process of its own, which then ends as if it was killed."""
    run = subprocess.run([sys.executable, "-c", PROBE, url], cwd=HERE, capture_output=True, text=True, check=True)
    return float(run.stdout)


def probe(url: str) -> None:
    print(resumed(resolve_store(url))[0], flush=True)
    os._exit(0)


def reopened(url: str) -> tuple[float, float, float]:
    """Milliseconds and CPU milliseconds in this process, the store closed before; milliseconds with it open."""
    store = resolve_store(url)
    spent, cpu = resumed(store)
    opened, _ = resumed(store)
    store.close()
    return spent, cpu, opened


def resumed(store: Store) -> tuple[float, float]:
    node = OnceMore(0)
    graph = looping(node, LENGTHS[-1] * 2, store)
    began, cpu = time.perf_counter(), time.thread_time()
    with suppress(ExecutionError):
        graph.resume("long")
    return (node.started - began) * 1000, (node.cpu - cpu) * 1000


def many(root: Path) -> Iterator[Figure]:
    """200 runs of 10 async nodes at once in one loop, durable."""

    async def node(state: State) -> dict[str, int]:
        return {"number": state["number"] + 1}

    checkpoint = CheckpointConfig(store=resolve_store(f"sqlite:///{root}/many.db"), interval=1, preserve=True)
    graph = StateGraph(GraphConfig("many", observer=None, checkpoint=checkpoint))
    names = [f"node{number}" for number in range(NODES)]
    for name in names:
        graph.add_node(name, node)
    graph.sequence(*names)

    async def all_runs() -> float:
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*[graph.aexecute({"number": 0}) for _ in range(RUNS)])
        cpus.append(time.process_time() - cpu)
        return RUNS * NODES / (time.perf_counter() - began)

    cpus: list[float] = []
    speeds, syncs = [], []
    for _ in range(7):
        syncs.append(lone_fsync(root))
        speeds.append(asyncio.run(all_runs()))
    cpu = statistics.median(cpus) / RUNS / NODES * 1e6
    note = f"best {max(speeds):,.0f}; CPU {cpu:.0f} us a step; a lone fsync: {statistics.median(syncs):.2f} ms"
    speed = statistics.median(speeds)
    what = "200 runs x 10 async nodes, SQLite, steps a second"
    yield Figure(what, speed, 25_000, "/s", note, at_least=True, best=max(speeds))


def lone_fsync(root: Path) -> float:
    """Milliseconds, the median of 20."""
    times = []
    with (root / "lone").open("wb", buffering=0) as file:
        for _ in range(20):
            file.write(os.urandom(4096))
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def start(root: Path) -> Iterator[Figure]:
    """`import tau` and `tau --help` beside a bare interpreter and what tau stands on, in turns."""
    ours, bare, base, shown = [], [], [], []
    for _ in range(11):
        ours.append(interpreter("import tau"))
        bare.append(interpreter("pass"))
        base.append(interpreter("import msgspec, apsw"))
        shown.append(interpreter("from tau.cli import main; main(['--help'])"))
    note = f"least {min(ours[1:]) - min(bare[1:]):.0f} ms; a bare interpreter: {statistics.median(bare[1:]):.0f} ms"
    more = statistics.median(ours[1:]) - statistics.median(bare[1:])
    yield Figure("import tau", more, 100.0, "ms", note, best=min(ours[1:]) - min(bare[1:]))
    least = min(ours[1:]) / min(base[1:])
    ratio = statistics.median(ours[1:]) / statistics.median(base[1:])
    note = f"least {least:.2f}; importing msgspec and apsw: {statistics.median(base[1:]):.0f} ms"
    yield Figure("import tau, to what it stands on", ratio, 2.0, "x", note, best=least)
    least = min(shown[1:]) / min(ours[1:])
    ratio = statistics.median(shown[1:]) / statistics.median(ours[1:])
    note = f"least {least:.2f}; the help: {statistics.median(shown[1:]):.0f} ms"
    yield Figure("tau --help, to import tau", ratio, 2.0, "x", note, best=least)
    least = min(shown[1:]) / min(base[1:])
    ratio = statistics.median(shown[1:]) / statistics.median(base[1:])
    yield Figure("tau --help, to what tau stands on", ratio, 2.0, "x", f"least {least:.2f}", best=least)


def interpreter(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def install(root: Path) -> Iterator[Figure]:
    """The project and what it needs, in an environment of its own."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        pip = [f"{place}/bin/python", "-m", "pip", "-q", "--disable-pip-version-check"]
        packages = next(Path(place).glob("lib/python*/site-packages"))
        before, empty = {path.name for path in packages.glob("*.dist-info")}, size_of(packages)
        subprocess.run([*pip, "install", "--no-compile", str(HERE.parent)], check=True, capture_output=True)
        names = {path.name for path in packages.glob("*.dist-info")} - before
        megabytes = size_of(packages) - empty
    note = " ".join(sorted(name.split("-")[0] for name in names))
    yield Figure("core install: distributions", len(names), 10, "", note)
    yield Figure("core install: size", megabytes, 30.0, "MB", "without bytecode")
