"""What the command says of graphs with routes, and of runs whose route has yet to answer."""

from __future__ import annotations

import re

from cli_shell import Here, Shell
from json_tables import Tables

DESK = """
import os
from tau import END, StateGraph
graph = StateGraph("desk")
@graph.node
def draft(state):
    return {"n": state.get("n", 0) + 1}
@graph.node
def publish(state):
    return {"text": "out"}
async def verdict(state):
    if os.path.exists("dies"):
        os._exit(9)
    if os.path.exists("odd"):
        return "odd"
    return "approve" if state["n"] == 2 else "revise"
graph.add_conditional_edges(draft, verdict, {"approve": publish, "revise": draft, "reject": END})
graph.add_conditional_edges(publish, lambda state: END, [END])
graph.set_entry_point(draft)
"""
GRAPH = "desk.py:graph"


def test_a_graph_is_drawn_with_its_answers(shell: Shell, here: Here) -> None:
    shell.write("desk.py", DESK)
    assert here("graph", GRAPH).out == (
        "draft  [entry]\n  -> publish  if verdict answers approve\n  -> draft  if verdict answers revise\n"
        "  -> END  if verdict answers reject\npublish\n  -> END  if <lambda> answers END\n"
    )
    document = here.json("graph", GRAPH)
    Tables().check("tau-graph", document)
    ways = [(edge["source"], edge["target"], edge["name"], edge["route"]) for edge in document["edges"]]
    assert ways[:3] == [
        ("draft", "publish", "approve", "verdict"), ("draft", "draft", "revise", "verdict"),
        ("draft", "__end__", "reject", "verdict"),
    ]  # fmt: skip
    assert {edge["predicate"] for edge in document["edges"]} == {True}


def test_a_history_tells_each_answer(shell: Shell, here: Here, store: str) -> None:
    shell.write("desk.py", DESK)
    here("run", GRAPH, "--run-id", "r", "--store", store)
    rows = [line.split("\t") for line in here("history", "r", "--store", store).out.splitlines()][3:]
    told = [(what, node, re.sub(r"[\d.]+ m?s\b", "T", detail)) for _, _, what, node, detail in rows]
    assert told == [
        ("checkpoint", "draft", "T, set n, next not decided yet"),
        ("routed", "draft", "answered revise, T, next draft"),
        ("checkpoint", "draft", "visit 2, T, set n, next not decided yet"),
        ("routed", "draft", "answered approve, T, next publish"),
        ("checkpoint", "publish", "T, set text, the run ends"),
        ("finished", "publish", ""),
    ]
    document = here.json("history", "r", "--store", store)
    Tables().check("tau-history", document)
    answers = [
        (entry["node"], entry["visit"], entry["answer"], entry["next"])
        for entry in document["entries"]
        if entry["kind"] == "routed"
    ]
    assert answers == [("draft", 1, "revise", "draft"), ("draft", 2, "approve", "publish")]


def test_of_a_run_that_was_killed_in_its_route_it_says_what_is_known(shell: Shell, here: Here, store: str) -> None:
    shell.write("desk.py", DESK)
    shell.write("dies", "")
    shell.run("run", GRAPH, "--run-id", "r", "--store", store, code=9)
    shell.remove("dies")
    shown = here("show", "r", "--store", store).out
    assert re.search(r"^status\s+dead$", shown, re.MULTILINE)
    assert re.search(r"^next\s+not decided yet$", shown, re.MULTILINE)
    assert here.json("show", "r", "--store", store)["next"] is None
    planned = here("resume", "r", GRAPH, "--store", store, "--plan").out
    assert re.search(r"^resume\s+asks the route of draft$", planned, re.MULTILINE)
    plan = here.json("resume", "r", GRAPH, "--store", store, "--plan")["plan"]
    assert [(line["what"], line["node"], line["why"]) for line in plan[1:]] == [
        ("then", "publish", "not reached yet"), ("then", "draft", "may be visited again"),
    ]  # fmt: skip
    here("resume", "r", GRAPH, "--store", store)
    assert re.search(r"^next\s+", here("show", "r", "--store", store).out, re.MULTILINE) is None


def test_an_answer_that_leads_nowhere_is_told_with_those_there_are(shell: Shell, here: Here) -> None:
    shell.write("desk.py", DESK)
    shell.write("odd", "")
    said = here("run", GRAPH, "--run-id", "r", code=1).err
    answers = "approve -> publish, revise -> draft, reject -> END"
    assert f"the route verdict of node draft answered 'odd'; the answers there are: {answers}" in said
    shell.remove("odd")
    here("resume", "r", GRAPH)
