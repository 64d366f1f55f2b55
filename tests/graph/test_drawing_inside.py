"""What a node consists of is drawn inside it."""

from __future__ import annotations

from tau import StateGraph, branches_node
from tau.graph.drawing import dot


def nested() -> StateGraph:
    inner = StateGraph("inner")
    inner.add_node("load", lambda state: None)
    inner.add_node("clean", lambda state: None)
    inner.sequence("load", "clean")
    graph = StateGraph("outer")
    graph.add_node("prepare", inner)
    graph.add_node("both", branches_node({"one": lambda state: None, "two": inner}))
    graph.sequence("prepare", "both")
    return graph


def test_as_text_it_is_indented() -> None:
    assert nested().to_text() == (
        "prepare  [entry]\n  | load  [entry]\n  |   -> clean\n  | clean  [exit]\n  -> both\n"
        "both  [exit]\n  | one\n  | two:\n  |   load  [entry]\n  |     -> clean\n  |   clean  [exit]\n"
    )


def test_as_mermaid_it_is_a_subgraph_to_which_edges_lead() -> None:
    lines = [line.strip() for line in nested().to_mermaid().splitlines()]
    assert lines == [
        "flowchart TD",
        'subgraph n0["prepare"]', 'n0_0n0(["load"])', 'n0_0n1[["clean"]]', "n0_0n0 --> n0_0n1", "end",
        'subgraph n1["both"]', 'n1_0n0["one"]',
        'subgraph n1_1["two"]', 'n1_1n0(["load"])', 'n1_1n1[["clean"]]', "n1_1n0 --> n1_1n1", "end", "end",
        "n0 --> n1",
    ]  # fmt: skip


def test_for_graphviz_it_is_a_cluster() -> None:
    drawn = dot(nested())
    assert drawn.count("{") == drawn.count("}")
    assert 'subgraph cluster_n0 { label="prepare"' in drawn
    assert 'subgraph cluster_n1_1 { label="two"' in drawn
    assert "n0 -> n1 [ltail=cluster_n0, lhead=cluster_n1]" in drawn
