"""Every figure that tau promises, measured here and now: python benchmarks/figures.py [NAME ...] [--dir DIRECTORY]

Without names all are measured, in some minutes. Ratios come from one run of both sides in turns, numbers are medians.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import calls
import idle
import inside
import items
import large
import parallel
import progress
import resumes
import science
import servers
import steps
import workers
from measure import Figure

import hub

FIGURES: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "engine": steps.engine,
    "memory": steps.memory,
    "sqlite": steps.sqlite,
    "file": steps.file,
    "postgres": servers.postgres,
    "redis": servers.redis,
    "workers": workers.workers,
    "idle": idle.idle,
    "large": large.unread,
    "growing": large.growing,
    "tuple": large.tuples,
    "resume": resumes.resume,
    "many": resumes.many,
    "items": items.items,
    "million": items.million,
    "calls": calls.calls,
    "inside": inside.inside,
    "hub": hub.hub,
    "science": science.science,
    "view": progress.view,
    "processes": parallel.processes,
    "start": resumes.start,
    "install": resumes.install,
}


QUIET = 1.25
"""How much slower than at its best a fixed loop may be, or how much longer than its CPU time it may last, before a
figure that misses its limit says more about the machine than about tau."""

best = float("inf")


class Pace(NamedTuple):
    """What a fixed piece of Python takes on this machine now, and whether the machine is busy with other things."""

    milliseconds: float
    busy: bool

    def __str__(self) -> str:
        return f"{self.milliseconds:.1f} ms"


def pace(loops: int = 20) -> Pace:
    global best  # noqa: PLW0603
    walls, cpus = [], []
    for _ in range(loops):
        began, cpu_began = time.perf_counter(), time.thread_time()
        total = 0
        for number in range(200_000):
            total += number & 7
        walls.append((time.perf_counter() - began) * 1000)
        cpus.append((time.thread_time() - cpu_began) * 1000)
    best = min(best, *walls)
    median = statistics.median(walls)
    return Pace(median, median > QUIET * best or sum(walls) > QUIET * sum(cpus))


def verdict(figure: Figure, busy: bool) -> str:
    return "BUSY" if busy and not figure.ok else figure.verdict


def show(figure: Figure, before: Pace, busy: bool) -> None:
    limit = "" if figure.limit is None else f"{figure.limit:,.6g} {figure.unit}"
    measured = f"{figure.measured:,.4g} {figure.unit}"
    judged = verdict(figure, busy)
    print(f"{figure.what:56} {measured:>10} {limit:>10}  {judged:14} {before!s:>8}  {figure.note}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--dir", help="a directory on the disk that counts; by default that of temporary files")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in FIGURES]
    if unknown:
        parser.error(f"there is no figure {unknown[0]!r}; there are {', '.join(FIGURES)}")
    print(f"{'what':56} {'measured':>10} {'at most':>10}  {'':14} {'pace':>8}")
    over = unjudged = 0
    pace()  # what it is at best should be known before the first figure
    for name in options.names or FIGURES:
        root = Path(tempfile.mkdtemp(prefix="tau-figures-", dir=options.dir))
        try:
            before = pace()
            for figure in FIGURES[name](root):
                after = pace()
                busy = before.busy or after.busy
                show(figure, before, busy)
                over += not figure.ok and not busy
                unjudged += not figure.ok and busy
                before = after
        finally:
            shutil.rmtree(root, ignore_errors=True)
    print(f"pace: what a fixed loop of Python took just before; {pace()} now, {best:.1f} ms at best in this run")
    if unjudged:
        print(f"BUSY: {unjudged} missed their limit while the machine was too busy to judge; measure these again")
    return 1 if over else 2 if unjudged else 0


if __name__ == "__main__":
    raise SystemExit(main())
