"""Steps and artifacts, as `tau show` lists them and `tau delete` takes them away."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from cli_shell import Here, Shell
from msgspec.structs import replace

from tau import Context, ExecutionError, State, StateGraph, open_store
from tau.cli.reading import read_run
from tau.log.encoding import seal
from tau.log.records import Item
from tau.stores.contract import Batch
from tau.values.stored import Inline

FILES = """
from tau import StateGraph

graph = StateGraph("files")

@graph.node
def write(state, ctx):
    with ctx.artifact("clean.txt") as path:
        path.write_text("clean")

@graph.node
def work(state, ctx):
    ctx.step("fit \x1b[31m", lambda: [1, 2, 3])
    if state.get("breaks"):
        raise ValueError("after the step")

graph.sequence(write, work)
"""


@pytest.fixture
def files(shell: Shell) -> None:
    shell.write("files.py", FILES)


@pytest.mark.usefixtures("files")
def test_the_items_of_the_node_in_flight_are_listed(here: Here, store: str) -> None:
    here("run", "files.py:graph", "--run-id", "r", "--set", "breaks=true", "--store", store, code=1)
    (item,) = here.json("show", "r", "--store", store)["items"]
    assert (item["name"], item["kind"], item["size_bytes"]) == ("fit \x1b[31m", "step", 4)
    assert item["duration_seconds"] >= 0
    shown = here("show", "r", "--store", store).out
    assert "\nfit \\x1b[31m\tstep\t" in shown
    here("run", "files.py:graph", "--run-id", "s", "--store", store)
    assert here.json("show", "s", "--store", store)["items"] == []


MAPS = """
from tau import ParallelConfig, StateGraph, process_parallel

graph = StateGraph("maps")

def inner(n):
    return sum(process_parallel(range(n), abs, ParallelConfig(max_workers=1), name="inner").results)

@graph.node
def work(state, ctx):
    ctx.map("outer", inner, range(1, 5), workers=1)
    ctx.step("one", int)
    ctx.map("broken", lambda n: 12 // n, [3, 2, 1, 0, 4], workers=1)

graph.sequence(work)
"""


def test_the_items_of_a_map_are_shown_together(shell: Shell, here: Here, store: str) -> None:
    shell.write("maps.py", MAPS)
    here("run", "maps.py:graph", "--run-id", "r", "--store", store, code=1)
    items = here.json("show", "r", "--store", store)["items"]
    assert [(one["name"], one["kind"], one["count"], one["planned"]) for one in items] == [
        ("outer / inner", "items", 10, 10),
        ("outer", "items", 4, 4),
        ("one", "step", 1, None),
        ("broken", "items", 3, 5),
    ]
    shown = here("show", "r", "--store", store).out
    assert "\nouter / inner\t10 items\t" in shown
    assert "\nouter\t4 items\t" in shown
    assert "\nbroken\t3 of 5 items\t" in shown


MANY = """
import os
from tau import StateGraph

graph = StateGraph("many")

def task(n):
    if n == 2500 and not os.path.exists("mended"):
        raise ValueError("it broke")
    if n == 100 and os.path.exists("mended"):
        raise ValueError("it broke early")
    return n

@graph.node
def work(state, ctx):
    ctx.step("before", int)
    ctx.map("map", task, range(3000), workers=1)

graph.sequence(work)
"""


def test_many_items_are_counted_and_those_that_were_dropped_are_not(shell: Shell, here: Here, store: str) -> None:
    shell.write("many.py", MANY)
    here("run", "many.py:graph", "--run-id", "r", "--store", store, code=1)
    shell.write("mended", "")
    for count in (2500, 100):
        items = here.json("show", "r", "--store", store)["items"]
        found = [(one["name"], one["kind"], one["count"], one["planned"]) for one in items]
        assert found == [("before", "step", 1, None), ("map", "items", count, 3000)]
        here("resume", "r", "many.py:graph", "--on-change", "redo", "--store", store, code=1)


def test_an_item_that_is_shown_takes_at_most_200_bytes(tmp_path: Path) -> None:
    def most(name: str, count: int) -> int:
        """The most bytes that are held while a run of so many items is read."""
        graph = StateGraph(name, store=f"sqlite:///{tmp_path}/{name}.db")

        @graph.node(version="1")
        def work(state: State, ctx: Context) -> None:
            ctx.map("map", str, [1])
            raise ValueError("it broke")

        graph.sequence(work)
        with pytest.raises(ExecutionError):
            graph.execute({}, run_id="r")
        with open_store(f"sqlite:///{tmp_path}/{name}.db") as store:
            before = store.summary("r")
            assert before is not None
            records = [
                Item(position=before.position + number, scope=(("work", 1, "map"),), name="map", key=f"item i {number}",
                     value=Inline(b"\x01"), seconds=1.0)
                for number in range(1, count + 1)
            ]  # fmt: skip
            after = replace(before, position=before.position + count)
            sealed = tuple(seal("r", record) for record in records)
            assert store.commit([Batch("r", before.position, b"token", sealed, (), after)]) == [after.position]
            del records, sealed
            tracemalloc.start()
            try:
                (piece,) = read_run(store, after).items
                assert (piece.count, round(piece.seconds)) == (count + 1, count)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    most("none", 1)
    few, many = most("few", 5000), most("many", 20_000)
    assert (many - few) / 15_000 <= 200


@pytest.mark.usefixtures("files")
def test_artifacts_are_listed_and_one_that_is_gone_is_told(here: Here, store: str) -> None:
    here("run", "files.py:graph", "--run-id", "r", "--store", store)
    (found,) = here.json("show", "r", "--store", store)["artifacts"]
    assert (found["key"], found["size_bytes"], found["node"], found["problem"]) == ("clean.txt", 5, "write", None)
    done = here("show", "r", "--store", store)
    assert f"\nclean.txt\t5 B\t{found['sha256'][:12]}\t{found['path']}\n" in done.out
    Path(found["path"]).unlink()
    assert "the artifact 'clean.txt' is missing" in here("show", "r", "--store", store).err
    assert "is missing" in here.json("show", "r", "--store", store)["artifacts"][0]["problem"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("keep", [[], ["--keep-summary"]])
def test_a_deleted_run_leaves_no_artifacts(here: Here, store: str, keep: list[str]) -> None:
    here("run", "files.py:graph", "--run-id", "r", "--store", store)
    (found,) = here.json("show", "r", "--store", store)["artifacts"]
    here("delete", "r", "--yes", *keep, "--store", store)
    assert not Path(found["path"]).exists()


@pytest.mark.usefixtures("files")
def test_a_resume_that_verifies_reads_the_files(here: Here, store: str) -> None:
    here("run", "files.py:graph", "--run-id", "r", "--set", "breaks=true", "--store", store, code=1)
    (found,) = here.json("show", "r", "--store", store)["artifacts"]
    path, before = Path(found["path"]), Path(found["path"]).stat()
    path.chmod(0o600)
    path.write_text("naelc")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = ("resume", "r", "files.py:graph", "--store", store)
    assert "is not what it was" in here(*again, "--verify-artifacts", code=1).err
    assert "after the step" in here(*again, code=1).err


CHAIN = """
from tau import StateGraph, process_chain

graph = StateGraph("chain")

def add(item, rows):
    return [*rows, str(1000 // (9 - item)) * 1000]

@graph.node
def work(state):
    process_chain(range(20), [], add)

graph.sequence(work)
"""


def test_of_a_chain_is_shown_what_its_steps_have_added(shell: Shell, here: Here, store: str) -> None:
    """And not the sizes of all that each had gathered, which nothing stores."""
    shell.write("chain.py", CHAIN)
    here("run", "chain.py:graph", "--run-id", "r", "--store", store, code=1)
    (items,) = here.json("show", "r", "--store", store)["items"]
    assert (items["kind"], items["count"]) == ("items", 9)
    assert 26_000 < items["size_bytes"] < 30_000
