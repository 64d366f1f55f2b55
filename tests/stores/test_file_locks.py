"""The file store takes no lock: it works where a file system has none, or lies about them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tau

PROGRAM = """
import errno, os, sys

def refuse(event, arguments):
    if event in ("fcntl.flock", "fcntl.lockf", "msvcrt.locking"):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

if "refuse" in sys.argv:
    sys.addaudithook(refuse)

from tau import StateGraph

def count(state):
    if state["n"] == 100 and "dies" in sys.argv:
        os._exit(9)
    return {"n": state["n"] + 1, "large": bytes(200_000)}

graph = StateGraph("g", store="file:runs")
graph.add_node("count", count, version="1")
graph.add_node("end", lambda state: None, version="1")
graph.add_edge("count", "count", lambda state: state["n"] < 200, name="more")
graph.add_edge("count", "end")
graph.set_entry_point("count")
graph.set_exit_point("end")
final = graph.execute({"n": 0}, run_id="r", if_exists="resume")
print(final["n"], [(row.run_id, row.status) for row in graph.store.runs()])
graph.store.delete("r")
assert not {"apsw", "sqlite3"} & sys.modules.keys(), "those take locks"
"""

LOCKS = re.compile(r"flock\(|F_(OFD_)?SETLKW?(64)?\b|F_(OFD_)?GETLK(64)?\b|F_SETLEASE")


def run(folder: Path, *words: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(tau.__path__[0]).parent)}
    command = [*under, sys.executable, "-c", PROGRAM, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_where_every_lock_fails_a_run_is_killed_resumed_finished_and_deleted(tmp_path: Path) -> None:
    assert run(tmp_path, "refuse", "dies").returncode == 9
    done = run(tmp_path, "refuse")
    assert (done.stdout, done.stderr) == ("200 [('r', 'finished')]\n", "")


@pytest.mark.deep
@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_no_lock_is_asked_of_the_kernel_and_one_that_fails_is_not_missed(error: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    words = ("-f", "-qq", "-o", str(trace), "-e", "trace=flock,fcntl,linkat,link", "-e", f"inject=flock:error={error}")
    assert run(tmp_path, "dies", under=("strace", *words)).returncode == 9
    done = run(tmp_path, under=("strace", "-A", *words))
    assert (done.stdout, done.stderr) == ("200 [('r', 'finished')]\n", "")
    calls = trace.read_text()
    assert len(re.findall(r"link(at)?\(", calls)) > 200, "the trace saw the commits"
    assert not LOCKS.search(calls)
