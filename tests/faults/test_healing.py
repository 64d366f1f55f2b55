"""Disks that fail and are well again: the error names what is wrong, and when the disk is well, so are we."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from preload import build

from tau import StateGraph, open_store
from tau.errors import StoreFullError
from tau.testing.store_contract.batches import batch, one

HERE = Path(__file__).parent
MODES = [f"{error}-{span}" for error in ("eio", "enospc", "eacces", "emfile") for span in ("once", "forever")]


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize("mode", MODES)
def test_a_sqlite_store_is_used_at_once_when_its_disk_is_well(tmp_path: Path, mode: str, stride: int) -> None:
    """Every call that fails, on a connection that is open and on one that is made anew."""
    library = build(tmp_path)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(HERE.parents[1] / "src")}
    command = [sys.executable, str(HERE / "healing.py"), str(tmp_path), "sqlite:///{}/a.db", mode, str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert int(done.stdout.split()[0]) >= 8


FILLED = """
import resource, signal, sys
from tau.errors import StoreFullError
from tau.stores import open_store
from tau.testing.store_contract.batches import batch, one
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for number, limit in enumerate((100, 4096, 20000, 33000)):
    store = open_store(f"sqlite:///{sys.argv[1]}/{number}.db")
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    refused = one(store, batch("r", 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert type(refused) is StoreFullError, repr(refused)
    assert "free some space" in str(refused) and "commit" in str(refused) or "open" in str(refused), refused
    assert one(store, batch("r", 0)) == 1
"""


def test_a_disk_that_is_full_when_a_database_is_made_is_told_as_such(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def mounted(tmp_path: Path):
    """A file system of its own, which can be made read-only."""
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def graph_in(place: Path) -> StateGraph:
    graph = StateGraph("g", store=f"sqlite:///{place}/runs.db")
    graph.add_node("a", lambda state: {"x": 1})
    graph.sequence("a")
    return graph


@pytest.mark.needs("mounts")
def test_a_store_that_was_opened_read_only_writes_when_it_can_be_written(mounted: Path) -> None:
    pid = os.fork()
    if pid == 0:  # what it leaves is what any killed process leaves
        graph_in(mounted).execute({}, run_id="old")
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    graph = graph_in(mounted)
    assert graph.store is not None
    assert [row.run_id for row in graph.store.runs()] == ["old"]
    refused = one(open_store(f"sqlite:///{mounted}/runs.db"), batch("r", 0))
    assert isinstance(refused, OSError)
    assert not isinstance(refused, StoreFullError)
    subprocess.run(["mount", "-o", "remount,rw", str(mounted)], check=True)
    assert dict(graph.execute({}, run_id="new")) == {"x": 1}
    graph.store.close()


LOST = """
import resource, signal, sys, traceback
from tau import StateGraph
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
def node(state):
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    raise ValueError("the sensor is broken")
graph = StateGraph("g", store=sys.argv[1])
graph.add_node("a", node)
graph.sequence("a")
try:
    graph.execute({}, run_id="r")
except Exception as error:
    said = "".join(traceback.format_exception(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(said)
"""


@pytest.mark.parametrize("url", ["sqlite:///{}/runs.db", "file:{}/runs"])
def test_a_lease_that_cannot_be_ended_hides_no_error(tmp_path: Path, url: str) -> None:
    command = [sys.executable, "-c", LOST, url.format(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot release" not in done.stdout
    assert "StoreFullError" in done.stdout
