"""`tau runs` says where a run is, and how far it is there, from its summary alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_shell import Here, Shell
from msgspec.structs import replace

from tau import Context, State, StateGraph, open_store
from tau.cli.commands.runs import _items, _where
from tau.stores import Store, Summary
from tau.stores.memory import MemoryStore

GRAPH = "pipeline.py:graph"
FILES = """
from tau import StateGraph

graph = StateGraph("items")

def work_on(n):
    if n == 12:
        raise ValueError("bad piece")
    return n

@graph.node
def begin(state):
    return {"n": 1}

@graph.node
def pieces(state, ctx):
    ctx.map("pieces", work_on, range(30), workers=1)

@graph.node
def steps(state, ctx):
    ctx.step("one", int)
    ctx.step("two", int)
    raise ValueError("bad step")

graph.sequence(begin, pieces)

several = StateGraph("several")
several.add_node("steps", steps)
several.sequence("steps")
"""


def where(here: Here, store: str, run_id: str) -> tuple[Any, ...]:
    row = next(row for row in here.json("runs", "--store", store) if row["run_id"] == run_id)
    shown = {line.split("\t")[0]: line.split("\t") for line in here("runs", "--store", store).out.splitlines()}[run_id]
    return row["node"], row["next"], row["items_finished"], row["items_planned"], shown[3], shown[-1]


def test_the_node_in_flight_is_shown_and_not_the_last_finished_one(shell: Shell, here: Here, store: str) -> None:
    with shell.held("run", GRAPH, "--run-id", "r", "--store", store) as held:
        assert where(here, store, "r") == ("ingest", "analyze", 0, None, "analyze", "")
        held.process.kill()
        held.process.communicate()
        assert where(here, store, "r") == ("ingest", "analyze", 0, None, "analyze", "")
        assert here.json("runs", "--store", store)[0]["status"] == "dead"
    shell.write("broken", "")
    here("resume", "r", GRAPH, "--store", store, code=1)
    assert where(here, store, "r") == ("ingest", "analyze", 0, None, "analyze", "")
    shell.remove("broken")
    here("resume", "r", GRAPH, "--store", store)
    assert where(here, store, "r") == ("report", None, 0, None, "report", "")
    here("run", GRAPH, "--run-id", "s", "--store", store, "--max-runtime", "0", code=75)
    assert where(here, store, "s") == (None, "ingest", 0, None, "ingest", "")
    here("cancel", "s", "--store", store)
    assert where(here, store, "s") == (None, None, 0, None, "", "")


def test_items_are_counted_of_those_that_are_planned(shell: Shell, here: Here, store: str) -> None:
    shell.write("items.py", FILES)
    here("run", "items.py:graph", "--run-id", "r", "--store", store, code=1)
    assert where(here, store, "r") == ("begin", "pieces", 12, 30, "pieces", "12 of 30")
    here("run", "items.py:several", "--run-id", "s", "--store", store, code=1)
    assert where(here, store, "s") == (None, "steps", 2, None, "steps", "2")
    assert here("verify", "--store", store).out.rstrip().endswith("all sound")
    here("export", "r", "out.tau", "--store", store)
    here("import", "out.tau", "--as", "b", "--store", store)
    assert where(here, store, "b")[:3] == ("begin", "pieces", 12)


def test_while_items_finish_they_are_counted() -> None:
    """Each commit has the number as of it, whatever a batch held."""
    store, seen = MemoryStore(), []
    graph = StateGraph("g", store=store)

    @graph.node
    def work(state: State, ctx: Context) -> None:
        for number in range(3):
            ctx.step(f"step {number}", int)
            summary = store.summary(ctx.run_id)
            assert summary is not None
            seen.append((summary.next, summary.items, summary.planned))
        for _ in ctx.map("map", abs, range(5), workers=1):
            pass

    graph.sequence(work)
    graph.execute(run_id="r")
    assert seen == [("work", 1, None), ("work", 2, None), ("work", 3, None)]
    summary = store.summary("r")
    assert summary is not None
    assert (summary.next, summary.items, summary.planned) == (None, 0, None)


def test_a_route_that_was_not_asked_is_told() -> None:
    row = Summary(run_id="r", graph="g", status="running", position=3, base=1, node="ingest", iterations=1)
    assert (_where(row), _items(row)) == ("after ingest", "")  # as of older versions
    assert _where(replace(row, node=None)) == ""
    assert _where(replace(row, next="analyze")) == "analyze"
    assert (_where(replace(row, status="finished")), _where(replace(row, status="damaged", node=None))) == (
        "ingest",
        "",
    )
    many = replace(row, next="n", items=12_000, planned=1_000_000)
    assert (_items(many), _items(replace(many, items=0, planned=5))) == ("12,000 of 1,000,000", "0 of 5")


@pytest.mark.parametrize("keep", [True, False])
def test_of_a_deleted_run_nothing_is_in_flight(tmp_path: Path, keep: bool) -> None:
    store: Store = open_store(f"sqlite:///{tmp_path}/runs.db")
    graph = StateGraph("g", store=store)
    graph.add_node("a", lambda state: None)
    graph.sequence("a")
    graph.admit({}, run_id="r")
    before = store.summary("r")
    assert before is not None
    assert before.next == "a"
    store.delete("r", keep_summary=keep)
    after = store.summary("r")
    assert after is not None
    assert (after.next, after.items, after.planned) == (None, 0, None)
    store.close()
