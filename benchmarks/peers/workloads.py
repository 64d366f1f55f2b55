"""The workloads, each the same for every peer. They run in a process of their own that ends with them."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import string
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Work

WARM = 10
"""Steps at the beginning that are not counted."""
MADE_OF = string.ascii_letters + string.digits + string.punctuation + " "
Make = Callable[..., Peer]
Found = dict[str, float]


def kilobyte() -> dict[str, Any]:
    """A state of 1 kB: ten texts of a hundred characters."""
    return {f"key{number}": f"{number:04d}" + "x" * 96 for number in range(10)}


def one_key(state: Mapping[str, Any]) -> dict[str, Any]:
    """Reads one key of `kilobyte` and sets it."""
    return {"key0": f"{int(state['key0'][:4]) + 1:04d}" + "x" * 96}


class Steps:
    """A node that does ``work`` so many times; the seconds from one start to the next, its own work included."""

    def __init__(self, work: Callable[[Mapping[str, Any]], dict[str, Any]], count: int, folder: Path) -> None:
        self.work, self.count, self.folder = work, count, folder
        self.starts: list[float] = []
        self.stored = 0.0

    def __call__(self, state: Mapping[str, Any]) -> dict[str, Any]:
        self.starts.append(time.perf_counter())
        if len(self.starts) <= self.count:
            return self.work(state)
        self.stored = megabytes(self.folder)
        return {"done": True}

    @property
    def median(self) -> float:
        gaps = [later - earlier for earlier, later in zip(self.starts, self.starts[1:], strict=False)]
        return statistics.median(gaps[min(WARM, len(gaps) // 2) :])


def looped(node: Any, *more: str, grows: str = "") -> Work:
    return Work({"step": node}, [*kilobyte(), "done", *more], loops=True, grows=grows)


def step(make: Make, folder: Path, count: int) -> Found:
    """A durable step: 1 kB of state, one key read and set."""
    steps = Steps(one_key, count, folder)
    make(folder).run(looped(steps), "step", kilobyte())
    whole = (time.perf_counter() - steps.starts[0]) / count
    return {"ms": steps.median * 1000, "ms in all": whole * 1000}


def untouched(make: Make, folder: Path, count: int, kind: str, lenient: bool) -> Found:
    """A step beside 10 MB of one kind that no node looks at."""
    steps = Steps(one_key, count, folder)
    peer = make(folder, lenient=lenient)
    peer.run(looped(steps, "large"), "untouched", kilobyte() | {"large": LARGE[kind]()})
    whole = (time.perf_counter() - steps.starts[0]) / count
    return {"ms": steps.median * 1000, "ms in all": whole * 1000, "MB": stored(peer, steps)}


def stored(peer: Peer, steps: Steps) -> float:
    """Megabytes before the last step; where writing lags behind, after the run."""
    return megabytes(peer.folder) if peer.behind else steps.stored


def ten_megabytes() -> bytes:
    return os.urandom(10_000_000)


def array(numbers: int = 1_250_000) -> Any:
    import numpy as np

    return np.random.default_rng(1).random(numbers)


def frame(numbers: int = 1_250_000) -> Any:
    import pandas as pd

    return pd.DataFrame(array(numbers).reshape(-1, 10), columns=[f"column{number}" for number in range(10)])


LARGE = {"bytes": ten_megabytes, "ndarray": array, "DataFrame": frame}


def growing(make: Make, folder: Path, count: int) -> Found:
    """A list to which every step adds 1 kB of text."""

    def append(state: Mapping[str, Any]) -> dict[str, Any]:
        return {"list": "".join(random.choices(MADE_OF, k=1000))}

    steps = Steps(append, count, folder)
    peer = make(folder)
    peer.run(looped(steps, "list", grows="list"), "growing", kilobyte() | {"list": []})
    return {"s": time.perf_counter() - steps.starts[0], "MB": stored(peer, steps)}


def long(left: int, arrived: Callable[[], None]) -> Work:
    """So many steps; at the start of the next one the process ends as if it were killed."""

    def node(state: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal left
        if left == 0:
            arrived()
            os._exit(0)
        left -= 1
        return one_key(state)

    return looped(node)


def lengthen(make: Make, folder: Path, count: int) -> Found:
    """So many checkpoints, and then the end of the process."""
    make(folder).run(long(count, lambda: None), "long", kilobyte())
    raise AssertionError("the process should have ended")


def first_node(make: Make, folder: Path, reply: Callable[[Found], None]) -> Found:
    """From `resume` in a fresh process to the start of the node that had been in flight; libraries are loaded."""
    work = long(0, lambda: reply({"ms": (time.perf_counter() - began) * 1000}))
    began = time.perf_counter()
    make(folder).resume(work, "long")
    raise AssertionError("the node was not run")


def many(make: Make, folder: Path, runs: int, nodes: int) -> Found:
    """Many runs of async nodes at once, in one event loop."""

    async def node(state: Mapping[str, Any]) -> dict[str, Any]:
        return {"number": state["number"] + 1}

    work = Work({f"node{number}": node for number in range(nodes)}, ["number"])
    peer = make(folder)
    began = time.perf_counter()
    asyncio.run(peer.many(work, [f"run{number}" for number in range(runs)], {"number": 0}))
    return {"steps/s": runs * nodes / (time.perf_counter() - began)}


def megabytes(folder: Path) -> float:
    """What lies in the store's directory now."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
