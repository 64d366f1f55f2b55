"""Runs with graphs inside nodes, as the first version that had them wrote them, are read and go on."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import unpack
from golden_inside import BROKEN, nesting

from tau import RunWaitingError, open_store
from tau.log.encoding import unseal
from tau.stores.contract import Store

ARCHIVE = Path(__file__).with_name("inside.tar.xz")
LOG = [
    ("both/a/a1", 1), ("both/a/a2", 1), ("both/b/b1", 1), ("both/b/b2", 1),
    ("both/a/a1", 1), ("both/a/a2", 1), ("both/b/b1", 1), ("both/b/b2", 1),
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    BROKEN.clear()
    with tarfile.open(ARCHIVE) as archive:
        unpack(archive, tmp_path)
    with open_store(f"file://{tmp_path}") as opened:
        yield opened


def test_the_runs_are_as_they_were(store: Store) -> None:
    rows = {row.run_id: (row.status, row.node, row.iterations) for row in store.runs()}
    assert rows == {
        "first": ("failed", None, 0), "second": ("failed", "lap", 2), "asked": ("waiting", "both", 1),
        "finished": ("finished", "end", 5),
    }  # fmt: skip
    state = nesting(store).resume("finished")
    assert state["out"] == [2, 8]
    assert [one[:2] for one in state["log"]] == LOG
    assert "b1" not in state


@pytest.mark.parametrize(("run_id", "asks"), [("first", 2), ("second", 1), ("asked", 2)])
def test_they_go_on_inside(store: Store, run_id: str, asks: int) -> None:
    graph = nesting(store)
    finished = graph.resume("finished")
    answers = {"fine": True} if run_id == "asked" else {}
    for _ in range(asks):
        with pytest.raises(RunWaitingError):
            graph.resume(run_id, answers=answers)
        answers = {"fine": True}
        if run_id == "asked" and asks == 2:
            break
    state = graph.resume(run_id, answers={"fine": False})
    assert {key: state[key] for key in state if key != "fine"} == {
        key: finished[key] for key in finished if key != "fine"
    }


def test_what_is_inside_has_the_fourth_format(store: Store) -> None:
    rows = store.read("finished")
    records = [unseal("finished", position, data) for position, data in rows]
    told = ("CheckpointRecord", "Finished", "Failed", "Interrupted", "Routed")
    for record, (_, data) in zip(records, rows, strict=True):
        assert (data[3] == 4) is (bool(record.scope) and type(record).__name__ in told)


def test_the_reader_of_the_format_page_reads_them(store: Store, tmp_path: Path) -> None:
    reader = Path(__file__).parents[2] / "docs" / "reader.py"
    command = [sys.executable, "-I", "-X", "utf8", str(reader), str(tmp_path), "finished"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "DAMAGED" not in done.stdout
    assert "checkpoint a1 -> a2 ['both', 1, 'a']" in done.stdout
    assert done.stdout.count("checkpoint both -> lap") == 2
