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

import large
import progress
import resumes
import science
import steps
from measure import Figure

FIGURES: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "engine": steps.engine,
    "memory": steps.memory,
    "sqlite": steps.sqlite,
    "file": steps.file,
    "large": large.unread,
    "growing": large.growing,
    "tuple": large.tuples,
    "resume": resumes.resume,
    "many": resumes.many,
    "science": science.science,
    "view": progress.view,
    "start": resumes.start,
    "install": resumes.install,
}


best = float("inf")


def pace(loops: int = 20) -> str:
    """How fast this machine runs a fixed piece of Python now, so that a noisy moment can be told from slow code."""
    global best  # noqa: PLW0603
    times = []
    for _ in range(loops):
        began = time.perf_counter()
        total = 0
        for number in range(200_000):
            total += number & 7
        times.append((time.perf_counter() - began) * 1000)
    best = min(best, *times)
    return f"{statistics.median(times):.1f} ms"


def show(figure: Figure, before: str) -> None:
    limit = "" if figure.limit is None else f"{figure.limit:,.6g} {figure.unit}"
    measured = f"{figure.measured:,.4g} {figure.unit}"
    print(f"{figure.what:56} {measured:>10} {limit:>10}  {figure.verdict:14} {before:>8}  {figure.note}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--dir", help="a directory on the disk that counts; by default that of temporary files")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in FIGURES]
    if unknown:
        parser.error(f"there is no figure {unknown[0]!r}; there are {', '.join(FIGURES)}")
    print(f"{'what':56} {'measured':>10} {'at most':>10}  {'':14} {'pace':>8}")
    over = 0
    for name in options.names or FIGURES:
        root = Path(tempfile.mkdtemp(prefix="tau-figures-", dir=options.dir))
        try:
            before = pace()
            for figure in FIGURES[name](root):
                show(figure, before)
                over += not figure.ok
                before = pace()
        finally:
            shutil.rmtree(root, ignore_errors=True)
    print(f"pace: what a fixed loop of Python took just before; {pace()} now, {best:.1f} ms at best in this run")
    return min(over, 1)


if __name__ == "__main__":
    raise SystemExit(main())
