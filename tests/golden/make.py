"""Writes the golden stores of a format, once: ``python tests/golden/make.py v2``. What is released is never made again.

A golden store is a real one, written by the code of its day: an archive of a SQLite file, and one of a directory.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from golden_runs import BREAKS, ODD_RUN_IDS, RAW, WIDE, counting, keeping, pipeline
from golden_values import VALUES
from msgspec.structs import replace

from tau import ExecutionError, RunInterruptedError, State, Stop, open_store
from tau.engine import ending
from tau.host import Host
from tau.log.records import Failure
from tau.stores.contract import Owner, Store

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INPUT = {"dataset": "co2 "}

# Raw, because its second 64 KiB do not compress, and large enough for a file of its own in a file store.
LARGE = bytes(1 << 16) + b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(1 << 11)) + bytes(1 << 18)


def write(store: Store) -> None:
    """One run of every kind."""
    pipeline(store).execute(INPUT, run_id="finished", tags=("paper", "2024"))
    pipeline(store, preserve=False).execute(INPUT, run_id="gone")
    pipeline(store).execute(INPUT, run_id="deleted")
    store.delete("deleted")
    with suppress(ExecutionError):
        pipeline(store, analyze=_break).execute(INPUT, run_id="failed")
    with suppress(ExecutionError):
        pipeline(store, analyze=_break).execute(INPUT, run_id="cancelled")
    pipeline(store).cancel("cancelled")
    stop = Stop()
    with suppress(RunInterruptedError):
        pipeline(store, preprocess=lambda: stop.set("SIGTERM")).execute(INPUT, run_id="interrupted", stop=stop)
    _in_child(lambda: pipeline(store, report=lambda: os._exit(9)).execute(INPUT, run_id="dead"))
    with suppress(ExecutionError):
        counting(store, breaks=BREAKS).execute({"n": 0, "all": [], "still": RAW}, run_id="long")
    keeping(store).execute(VALUES, run_id="values")
    keeping(store).execute(WIDE, run_id="wide")
    for run_id in ODD_RUN_IDS:
        keeping(store).execute({"id": run_id}, run_id=run_id)
    keeping(store).execute({"x": 1}, run_id="seeded", seed=7)
    State({"x": (1, {"y"}), "raw": RAW}, run_id="hand").checkpoint(store)


def _break() -> None:
    raise ValueError("the disk of the model is full")


def _in_child(work: Callable[[], Any]) -> None:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    os.waitpid(child, 0)


def _described(error: BaseException) -> Failure:
    """The failure with its paths as seen from the checkout: a golden store tells nothing of the machine it is from."""
    found = _describe(error)
    frames = tuple((os.path.relpath(path, ROOT), line, name) for path, line, name in found.frames)
    return Failure(found.type, found.text, frames)


def _owner(host: Host, lease: float) -> Owner:
    return replace(_owner_here(host, lease), host="golden", boot="golden", pid=4321, started=1, job="")


_describe, _owner_here = ending.describe, Host.owner


def _pack(folder: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:xz") as tar:
        for path in sorted(folder.rglob("*")):
            entry = tar.gettarinfo(path, str(path.relative_to(folder)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            tar.addfile(entry, io.BytesIO(path.read_bytes()) if path.is_file() else None)


def main(version: str) -> None:
    target = HERE / version
    target.mkdir()
    here = (
        patch.object(Host, "owner", _owner),
        patch("tau.engine.provenance.provenance", return_value={"host": "golden", "program": "make.py"}),
        patch("tau.engine.ending.describe", _described),
        patch("tau.stores.sqlite.store.clock_space", return_value="golden"),
    )
    with ExitStack() as stack:
        for one in here:
            stack.enter_context(one)
        temporary = stack.enter_context(tempfile.TemporaryDirectory())
        for kind, place in (("sqlite", "sqlite:///{}/runs.sqlite"), ("file", "file://{}")):
            folder = Path(temporary) / kind
            folder.mkdir()
            with open_store(place.format(folder)) as store:
                write(store)
                if kind == "file":
                    keeping(store).execute({"large": LARGE}, run_id="large")
            _pack(folder, target / f"{kind}.tar.xz")


if __name__ == "__main__":
    main(*sys.argv[1:])
