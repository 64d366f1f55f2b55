"""Strike a run with one fault at every point.

SUBJECT: sqlite, file (the engine on that store), the same with -steps (nodes that work in steps and leave files) or
-netcdf (NetCDF files of --megabytes), or a toy, on which the harness proves itself.
FAULT: before, after, torn: killed around or inside a libc call that changes the store; eio-once, enospc-forever, ...
(also eacces, emfile): such calls fail; lie: one says that it succeeded; short: one writes only half; line-kill: killed
at an executed line; interrupt: Ctrl-C wherever Python looks for it; await-cancel; memory: an allocation fails; flip,
cut, zero: damage to the files; race: many resume at once; zombie: an owner is frozen in a node, zombie-calls: at a
libc call.

Prints two lines per finding, the second being the command that repeats it, and a last line with the figures.
Ends with 1 if there was a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import damage
import injection
from preload import build
from subjects import Subject
from sweep import Finding, Sweep, first_and_last, tearable
from toys import TOYS, Toy

T = TypeVar("T")
Report = Iterator[Finding | dict[str, Any]]
OWNERS = ("race", "zombie", "zombie-calls")
NEED_LIBRARY = (*injection.CALLS, "zombie-calls")
MEMORY_POINTS = 200_000
DEFAULTS = {"interval": 1, "nodes": 4, "count": 8, "rounds": 4, "megabytes": 1}


def arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="tests/faults", description=__doc__, formatter_class=formatter)
    parser.add_argument("subject")
    parser.add_argument("fault")
    parser.add_argument("--point", type=int, help="only this point")
    parser.add_argument("--second", type=int, default=0, help="only this point of the recovery; needs --point")
    parser.add_argument("--stride", type=int, default=1, help="every n-th point")
    parser.add_argument("--offset", type=int, default=0, help="begin the stride here")
    parser.add_argument("--sample", type=int, help="about so many points, evenly spread; in turn by --day")
    parser.add_argument("--day", type=int, default=date.today().toordinal(), help="which sample; today's date as usual")
    parser.add_argument("--places", action="store_true", help="each place the first and the last time it is met")
    parser.add_argument("--twice", action="store_true", help="strike again at every point of each recovery")
    parser.add_argument("--second-stride", type=int, default=1, help="every n-th point of a recovery")
    parser.add_argument("--interval", type=int, default=DEFAULTS["interval"])
    parser.add_argument("--nodes", type=int, default=DEFAULTS["nodes"])
    parser.add_argument("--delete", action="store_true", help="preserve=False")
    parser.add_argument("--count", type=int, default=DEFAULTS["count"], help="processes of a race")
    parser.add_argument("--rounds", type=int, default=DEFAULTS["rounds"], help="of a race, or of zombies")
    parser.add_argument("--megabytes", type=int, default=DEFAULTS["megabytes"], help="of a NetCDF file")
    parser.add_argument("--list", action="store_true", help="only list the points")
    return parser.parse_args()


def with_library() -> None:
    """Start this program again with the crash points preloaded."""
    if "LD_PRELOAD" in os.environ:
        return
    with tempfile.TemporaryDirectory(prefix="crashpoints-") as directory:
        environment = {**os.environ, "LD_PRELOAD": str(build(Path(directory)))}
        pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv], environment)
        _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


def subject_of(given: argparse.Namespace) -> Subject:
    if given.subject in TOYS:
        return TOYS[given.subject]()
    import faulted_pipeline

    store, _, inner = given.subject.partition("-")
    kind: type[faulted_pipeline.Pipeline] = (
        faulted_pipeline.AsyncPipeline if given.fault == "await-cancel" else faulted_pipeline.Pipeline
    )
    if inner:
        import inner_pipelines

        kind = {"steps": inner_pipelines.StepPipeline, "netcdf": inner_pipelines.NetcdfPipeline}[inner]
    subject = kind(store, given.nodes, given.interval, not given.delete)
    if inner == "netcdf":
        subject.file_bytes = given.megabytes << 20
    if given.fault in damage.KINDS:
        subject.blob_bytes, subject.listening = 1024, True
    return subject


def fault_of(given: argparse.Namespace, subject: Subject) -> Any:
    if given.fault in injection.CALLS:
        return injection.CallFault(given.fault)
    if given.fault == "await-cancel":
        return injection.CancelFault(subject)
    if given.fault == "memory":
        return injection.MemoryFault(MEMORY_POINTS)
    if given.fault in injection.LINES:
        kind = injection.LineFault if given.fault == "line-kill" else injection.InterruptFault
        return kind(lines_of(subject))
    raise SystemExit(f"unknown fault {given.fault!r}; see --help")


def lines_of(subject: Subject) -> Callable[[str], bool]:
    if isinstance(subject, Toy):
        toys = str(Path(__file__).with_name("toys.py"))
        return lambda name: name == toys
    from struck_code import is_engine

    return is_engine


def strike(given: argparse.Namespace, subject: Subject, base: Path) -> Report:
    """One fault of a process at its points."""
    sweep = Sweep(subject, fault_of(given, subject), injection.rule_of(given.fault), base)
    sweep.second_stride = given.second_stride
    if given.fault == "memory":
        sweep.load_all()
    points = sweep.points()
    if given.fault == "torn":
        points = tearable(points)
    if given.places:
        points = first_and_last(points)
    if given.list:
        show(points)
    elif given.point is None:
        yield from sweep.sweep(chosen(given, points), given.twice)
    elif given.second:
        yield from sweep.strike_only(given.point, given.second)
    else:
        yield from sweep.sweep([(given.point, points.get(given.point, ""))], given.twice)
    yield {"points": len(points), "processes": sweep.runs, **({"crashes": sweep.crashes} if sweep.crashes else {})}


def injure(given: argparse.Namespace, subject: Subject, base: Path) -> Report:
    """One kind of damage to what a killed run left behind."""
    injury = damage.Damage(subject, base)
    spots = dict(enumerate(injury.spots(given.fault)))
    if given.list:
        show(spots)
    elif given.point is None:
        yield from injury.sweep(chosen(given, spots))
    else:
        yield from injury.sweep([(given.point, spots[given.point])])
    yield {"points": len(spots), "mutations": sum(injury.counts.values()), **injury.counts}


def contest(given: argparse.Namespace, subject: Subject, base: Path) -> Report:
    """Several owners of one run."""
    import owners
    from faulted_pipeline import Pipeline

    if not isinstance(subject, Pipeline):
        raise SystemExit(f"{given.fault} is for the engine: sqlite or file")
    contested = owners.Race(subject, base, given.count) if given.fault == "race" else owners.Zombie(subject, base)
    points = contested.points(given.rounds if given.fault != "zombie-calls" else 0)
    if given.list:
        show(points)
    elif given.point is None:
        for number, _ in chosen(given, points):
            yield from contested.round(number)
    else:
        yield from contested.round(given.point)
    yield {"points": len(points)}


def chosen(given: argparse.Namespace, points: Mapping[int, T]) -> list[tuple[int, T]]:
    """The points to strike: all, every n-th, or the sample of a day, which in n days are all."""
    stride, offset = given.stride, given.offset
    if given.sample:
        stride = max(1, len(points) // given.sample)
        offset = given.day % stride
    return list(points.items())[offset::stride]


def show(points: Mapping[int, object]) -> None:
    print("\n".join(f"{n} {where}" for n, where in points.items()))


def repeat(given: argparse.Namespace, finding: Finding) -> str:
    words = ["PYTHONPATH=src python tests/faults", given.subject, given.fault, f"--point {finding.point}"]
    words += [f"--second {finding.second}"] if finding.second else []
    words += [f"--{name} {getattr(given, name)}" for name, usual in DEFAULTS.items() if getattr(given, name) != usual]
    return " ".join([*words, "--delete"] if given.delete else words)


def base_directory() -> Path:
    """Where runs live: in memory if possible, since a killed process does not show what a disk would lose."""
    memory = Path("/dev/shm")
    writable = memory.is_dir() and os.access(memory, os.W_OK) and "TMPDIR" not in os.environ
    return Path(tempfile.mkdtemp(prefix="tau-faults-", dir=memory if writable else None)).resolve()


def main() -> int:
    given = arguments()
    if given.fault in NEED_LIBRARY:
        with_library()
    subject, base, began = subject_of(given), base_directory(), time.monotonic()
    action = injure if given.fault in damage.KINDS else contest if given.fault in OWNERS else strike
    figures: dict[str, Any] = {"findings": 0}
    try:
        for found in action(given, subject, base):
            if isinstance(found, dict):
                figures.update(found)
                continue
            figures["findings"] += 1
            at = f"{found.point} then {found.second}" if found.second else f"{found.point}"
            print(f"{given.subject} {given.fault} point {at} ({found.where}): {found.problem}")
            print(f"    repeat: {repeat(given, found)}", flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print(json.dumps({**figures, "seconds": round(time.monotonic() - began, 2)}))
    return 1 if figures["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
