"""Runs in the middle of a chain go on, also those of versions that stored the whole state after each step."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import unpack
from golden_chains import BREAKS, CALLED, KINDS, STEPS, chains, final

from tau import ExecutionError, open_store
from tau.log.encoding import seal, unseal
from tau.log.records import Item
from tau.stores.contract import Store
from tau.values.stored import Grown

HERE = Path(__file__).parent
NODES = (*KINDS, "state")


@pytest.fixture(params=["whole", "grown"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    BREAKS.clear()
    CALLED.clear()
    with tarfile.open(HERE / f"chains_{request.param}.tar.xz") as archive:
        unpack(archive, tmp_path)
    with open_store(f"file://{tmp_path}") as opened:
        yield opened


@pytest.mark.parametrize("node", NODES)
def test_they_go_on_with_the_step_that_was_in_flight(store: Store, node: str) -> None:
    state = chains(store).resume(f"at {node}")
    assert dict(state) == final()
    assert [item for name, item in CALLED if name == node] == list(range(5, STEPS))
    assert {name for name, _ in CALLED} == {*NODES[NODES.index(node) :]}


@pytest.mark.parametrize("node", NODES)
def test_what_goes_on_is_found_again_by_a_second_resume(store: Store, node: str) -> None:
    """The steps of both versions make one chain."""
    BREAKS[node] = 7
    with pytest.raises(ExecutionError, match=f"{node} broke"):
        chains(store).resume(f"at {node}")
    BREAKS.clear()
    CALLED.clear()
    assert dict(chains(store).resume(f"at {node}")) == final()
    assert [item for name, item in CALLED if name == node] == [7]


def test_a_finished_run_is_what_it_was(store: Store) -> None:
    assert dict(chains(store).resume("finished")) == final()
    assert CALLED == []


def items(store: Store, run_id: str) -> list[tuple[int, bytes, Item]]:
    rows = [(position, data, unseal(run_id, position, data)) for position, data in store.read(run_id)]
    return [(position, data, record) for position, data, record in rows if isinstance(record, Item)]


def test_what_builds_on_another_step_has_the_fifth_format(store: Store, request: pytest.FixtureRequest) -> None:
    """So a version that would take it for damage refuses it; the rest it reads."""
    found = {node: items(store, f"at {node}")[-5:] for node in NODES}
    is_new = "grown" in request.node.name
    for rows in found.values():
        for position, data, record in rows:
            builds = bool(record.after or record.changed or isinstance(record.value, Grown))
            assert (data[3] == 5) is builds
            assert seal("r", record)[3] == data[3]
            assert position == record.position
    built = {node: sum(data[3] == 5 for _, data, _ in rows) for node, rows in found.items()}
    assert built == (
        {"list": 2, "text": 3, "dict": 3, "replaced": 0, "state": 5} if is_new else dict.fromkeys(NODES, 0)
    )


def test_the_reader_of_the_format_page_reads_them(store: Store, tmp_path: Path) -> None:
    reader = HERE.parents[1] / "docs" / "reader.py"
    command = [sys.executable, "-I", "-X", "utf8", str(reader), str(tmp_path), "finished"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "DAMAGED" not in done.stdout
    assert done.stdout.count(" item ") == len(NODES) * STEPS
