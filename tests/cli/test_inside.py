"""What the command tells of graphs and branches inside nodes."""

from __future__ import annotations

import pytest
from cli_shell import Here, Shell

NESTED = """
import os
from tau import StateGraph, branches_node

def inner(name):
    graph = StateGraph(name)
    @graph.node
    def load(state):
        return {name: 1}
    @graph.node
    def fit(state, ctx):
        ctx.map("m", abs, range(4), workers=1)
        ctx.step("s", int)
        if name == "two" and not os.path.exists("mended"):
            raise ValueError("broken")
    @graph.node
    def last(state):
        pass
    graph.sequence(load, fit, last)
    return graph

deep = StateGraph("deep")
deep.add_node("one", inner("one"))
deep.add_node("two", inner("two"))
deep.sequence("one", "two")
graph = StateGraph("nested")
graph.add_node("begin", inner("begin"))
graph.add_node("all", branches_node({"x": inner("x"), "d": deep, "f": lambda state: {"f": 1}}))
graph.add_node("end", lambda state: None)
graph.sequence("begin", "all", "end")
"""

BEGIN = ["begin", "begin/load", "begin/fit", "begin/last"]
DEEP = ["all/d/one", *(f"all/d/one/{node}" for node in ("load", "fit", "last"))]
FINISHED = {
    *(f"all/{branch}" for branch in ("f", "x/load", "x/fit", "x/last", "d/two/load")),
    *DEEP,
}


@pytest.fixture
def broken(shell: Shell, here: Here, store: str) -> None:
    shell.write("nested.py", NESTED)
    here("run", "nested.py:graph", "--run-id", "r", "--store", store, code=1)


@pytest.mark.usefixtures("broken")
def test_show_lists_what_is_inside_below_its_node_and_what_is_not_finished(
    shell: Shell, here: Here, store: str
) -> None:
    def rows() -> list[list[str]]:
        lines = here("show", "r", "--store", store).out.split("\n\n")
        return [line.split("\t") for line in next(text for text in lines if text.startswith("node\t")).splitlines()[1:]]

    shown = rows()
    nodes = [row[0] for row in shown]
    assert nodes[:5] == [*BEGIN, "all"]
    at = nodes.index("all/d/one")
    assert nodes[at : at + 7] == [*DEEP, "all/d/two", "all/d/two/load", "all/d/two/fit"]
    assert set(nodes[5:]) == FINISHED | {"all/d/two", "all/d/two/fit"}
    x = nodes.index("all/x/load")
    assert nodes[x : x + 3] == ["all/x/load", "all/x/fit", "all/x/last"]
    assert {row[0]: row[2:] for row in shown if row[-1] == "not finished"} == {
        node: ["1", "", "not finished"] for node in ("all", "all/d/two", "all/d/two/fit")
    }
    shell.write("mended", "")
    here("resume", "r", "nested.py:graph", "--store", store)
    nodes = [row[0] for row in rows()]
    assert nodes[:5] == [*BEGIN, "all"]
    assert nodes[-1] == "end"
    assert {"all/d/two/fit", "all/d/two/last", *FINISHED} < set(nodes)
    assert here.json("show", "r", "--store", store)["unfinished"] == []


@pytest.mark.usefixtures("broken")
def test_a_plan_lists_what_is_finished_inside_and_where_it_goes_on(here: Here, store: str) -> None:
    plan = here.json("resume", "r", "nested.py:graph", "--plan", "--store", store)["plan"]
    assert plan[0]["node"] == "begin"
    assert {line["node"] for line in plan if line["what"] == "skip"} == {"begin", *FINISHED}
    runs = [(line["node"], line["why"]) for line in plan if line["what"] == "run"]
    assert [node for node, _ in runs] == ["all", "all/d/two/fit"]
    assert runs[0][1].endswith("4 finished items and 1 finished step are kept")
    assert runs[1][1] == "was begun"
    assert plan[-1] == {"what": "then", "node": "end", "why": "not reached yet"}


JOINED = """
from tau import StateGraph, branches_node
graph = StateGraph("joined")
graph.add_node("all", branches_node({"a": lambda state: {"x": 1}, "b": lambda state: {"x": 2}}))
graph.sequence("all")
"""


def test_what_is_done_anew_is_not_said_to_be_skipped(shell: Shell, here: Here, store: str) -> None:
    """Branches that cannot be joined are kept, unless on_change=redo does them anew."""
    shell.write("joined.py", JOINED)
    here("run", "joined.py:graph", "--run-id", "r", "--store", store, code=1)
    for more, skipped in (((), ["all/a", "all/b"]), (("--on-change", "redo"), [])):
        plan = here.json("resume", "r", "joined.py:graph", "--plan", "--store", store, *more)["plan"]
        assert sorted(line["node"] for line in plan if line["what"] == "skip") == skipped


@pytest.mark.usefixtures("broken")
def test_history_says_what_ends_with_a_branch(here: Here, store: str) -> None:
    lines = [line.split("\t") for line in here("history", "r", "--store", store).out.splitlines()]
    ends = {line[3]: line[4].rpartition(", ")[2] for line in lines if line[2] == "checkpoint"}
    assert ends["all/f"] == "branch f ends"
    assert ends["all/x/last"] == ends["begin/last"] == "the graph inside ends"
