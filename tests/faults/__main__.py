"""Strike a run with one fault at every point.

    PYTHONPATH=src python tests/faults SUBJECT FAULT [--point N [--second M]] [--stride K] [--twice] ...

SUBJECT: sqlite, file (the engine on that store), or one of the toys that the harness proves itself with.
FAULT: before after torn (kills around a libc call), eio-once enospc-forever ... (its errors), lie, short, line-kill,
line-interrupt (at an executed line), await-cancel, memory, flip, cut (damage).
Prints one line per finding and a last line with the figures; ends with 1 if there was a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import injection
from preload import build
from subjects import Subject
from sweep import Finding, Sweep, tearable
from toys import TOYS, Toy

HERE = Path(__file__).parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/faults", description=__doc__)
    parser.add_argument("subject")
    parser.add_argument("fault")
    parser.add_argument("--point", type=int, help="only this point")
    parser.add_argument("--second", type=int, default=0, help="only this point of the recovery; needs --point")
    parser.add_argument("--stride", type=int, default=1, help="every n-th point")
    parser.add_argument("--offset", type=int, default=0, help="begin the stride here")
    parser.add_argument("--twice", action="store_true", help="strike again at every point of each recovery")
    parser.add_argument("--interval", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--delete", action="store_true", help="preserve=False")
    parser.add_argument("--list", action="store_true", help="only list the points")
    return parser.parse_args()


def with_library() -> None:
    """Start this program again with the crash points preloaded."""
    if "LD_PRELOAD" in os.environ:
        return
    with tempfile.TemporaryDirectory(prefix="crashpoints-") as directory:
        library = build(Path(directory))
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv], environment)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
    sys.exit(code)


def subject_of(given: argparse.Namespace) -> Subject:
    if given.subject in TOYS:
        return TOYS[given.subject]()
    from pipeline import Pipeline

    return Pipeline(given.subject, given.nodes, given.interval, not given.delete)


def fault_of(given: argparse.Namespace, subject: Subject) -> object:
    if given.fault in injection.CALLS:
        return injection.CallFault(given.fault)
    if given.fault in injection.LINES:
        toys = str(HERE / "toys.py")
        if isinstance(subject, Toy):
            return injection.LineFault(given.fault, lambda name: name == toys)
        from pipeline import is_engine

        return injection.LineFault(given.fault, is_engine)
    if given.fault == "memory":
        return injection.MemoryFault()
    sys.exit(f"unknown fault {given.fault!r}")


def findings(given: argparse.Namespace, sweep: Sweep, points: dict[int, str]) -> Iterator[Finding]:
    if given.point is None:
        chosen = list(points.items())[given.offset :: given.stride]
        yield from sweep.sweep(chosen, given.twice)
    elif given.second:
        place = sweep.new_place()
        first = sweep.leg(place, "start", at=given.point)
        yield from sweep.strike_again(place, [first], given.point, points.get(given.point, ""), given.second)
    else:
        yield from sweep.sweep([(given.point, points.get(given.point, ""))], given.twice)


def repeat(given: argparse.Namespace, finding: Finding) -> str:
    words = ["PYTHONPATH=src python tests/faults", given.subject, given.fault, f"--point {finding.point}"]
    words += [f"--second {finding.second}"] if finding.second else []
    words += [f"--interval {given.interval}"] if given.interval != 1 else []
    words += [f"--nodes {given.nodes}"] if given.nodes != 4 else []
    words += ["--delete"] if given.delete else []
    return " ".join(words)


def base_directory() -> Path:
    """Where runs live: in memory if possible, since a killed process does not show what a disk would lose."""
    memory = Path("/dev/shm")
    writable = memory.is_dir() and os.access(memory, os.W_OK) and "TMPDIR" not in os.environ
    return Path(tempfile.mkdtemp(prefix="tau-faults-", dir=memory if writable else None))


def main() -> int:
    given = arguments()
    if given.fault in injection.CALLS:
        with_library()
    subject = subject_of(given)
    base = base_directory()
    began = time.monotonic()
    try:
        sweep = Sweep(subject, fault_of(given, subject), injection.rule_of(given.fault), base)
        points = sweep.points()
        if given.fault == "torn":
            points = tearable(points)
        if given.list:
            print("\n".join(f"{n} {where}" for n, where in points.items()))
            return 0
        found = 0
        for finding in findings(given, sweep, points):
            found += 1
            second = f" then {finding.second}" if finding.second else ""
            print(f"{given.subject} {given.fault} point {finding.point}{second} ({finding.where}): {finding.problem}")
            print(f"    repeat: {repeat(given, finding)}", flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    seconds = round(time.monotonic() - began, 2)
    print(json.dumps({"points": len(points), "processes": sweep.runs, "findings": found, "seconds": seconds}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
