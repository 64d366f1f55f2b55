"""A graph with routes, before it runs: what is refused, how it is drawn, and what counts as a change."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from tau import END, GraphError, State, StateGraph
from tau.graph.changes import compare
from tau.graph.drawing import dot


class Verdict(Enum):
    GOOD = 1
    BAD = 2


def choose(state: State) -> str:
    return "yes"


def make(route: Any = choose, mapping: Any = None, **options: Any) -> StateGraph:
    """a, whose route leads to b or c; b and c are exit points."""
    graph = StateGraph("g")
    for name in "abc":
        graph.add_node(name, lambda state: None)
    if route is not None:
        graph.add_conditional_edges("a", route, mapping or {"yes": "b", "no": "c", "stop": END}, **options)
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    graph.set_exit_point("c")
    return graph


def generator(state: State) -> Any:
    yield "yes"


BAD: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "no function": ("yes", None, {}, "the route of node a must be a function of the state, found str: 'yes'"),
    "a generator": (generator, None, {}, "is a generator"),
    "no argument": (lambda: "yes", None, {}, "cannot be called with the state alone"),
    "two arguments": (lambda state, ctx: "yes", None, {}, "bind its other arguments"),
    "no mapping": (choose, "b", {}, r"must map answers to nodes, as in .* found str: 'b'"),
    "an empty mapping": (choose, {}, {}, "is empty; leave it out"),
    "an empty list": (choose, [], {}, "is empty"),
    "an answer of another kind": (choose, {(1, 2): "b"}, {}, r"an answer must be text, .* found tuple: \(1, 2\)"),
    "several nodes": (
        choose,
        {"yes": ["b", "c"]},
        {},
        r"'yes' leads to several nodes \(list\), .*ctx\.map",
    ),
    "a target that is no node": (
        choose,
        {"yes": 3},
        {},
        "to node must be the name of a node, or its function, found",
    ),
    "an empty target": (choose, {"yes": ""}, {}, "to node"),
    "an empty name": (choose, None, {"name": ""}, "route name"),
    "a version": (choose, None, {"version": 1.5}, "the route of node a: version must be text or an integer"),
    "what it depends on": (choose, None, {"depends_on": "x"}, "the route of node a: depends_on must be a list"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_a_route_is_refused_and_changes_nothing(case: str) -> None:
    route, mapping, options, said = BAD[case]
    graph = make(None)
    with pytest.raises(GraphError, match=said):
        graph.add_conditional_edges("a", route, mapping, **options)
    assert not graph.routes
    assert not graph.edges


def test_edges_beside_a_route_are_refused_from_either_side() -> None:
    graph = make()
    with pytest.raises(GraphError, match="edge a -> b: node a has a route, which alone decides what follows"):
        graph.add_edge("a", "b")
    with pytest.raises(GraphError, match="node a has a route"):
        graph.add_edge("a", "b", choose)
    with pytest.raises(GraphError, match="node a has a route"):
        graph.sequence("a", "b")
    assert [edge.target for edge in graph.edges["a"]] == ["b", "c", END]
    graph.add_edge("b", "c")
    with pytest.raises(GraphError, match="node b has an edge to c already, and a route alone decides"):
        graph.add_conditional_edges("b", choose)


def test_a_node_has_one_route() -> None:
    def another(state: State) -> str:
        return "no"

    graph = make()
    with pytest.raises(GraphError, match="node a has a route already, choose; a node has one"):
        graph.add_conditional_edges("a", another)


def test_a_route_may_be_all_that_ends_a_graph() -> None:
    graph = StateGraph("g")
    graph.add_node("a", lambda state: None)
    graph.add_conditional_edges("a", lambda state: END, [END, "a"])
    graph.set_entry_point("a")
    graph.validate()
    assert graph.warnings == []


def test_all_that_is_wrong_with_routes_is_reported_at_once() -> None:
    graph = make(choose, {"yes": "b", "no": "nowhere"})
    graph.add_conditional_edges("gone", choose, {"stop": END})
    graph.add_node(END, lambda state: None)
    with pytest.raises(GraphError) as caught:
        graph.validate()
    assert caught.value.problems == (
        "a node is named __end__, which is tau.END, where a route ends a run; give it another name",
        "edge a -> nowhere: to node nowhere does not exist",
        "edge gone -> __end__: from node gone does not exist",
        "exit point c cannot be reached from entry point a",
    )


def test_a_node_called_as_the_end_is_no_problem_where_nothing_can_mean_it() -> None:
    graph = make(None)
    graph.add_node(END, lambda state: None)
    graph.add_edge("a", "b", choose)
    graph.add_edge("a", "c")
    graph.validate()


def test_a_route_that_leads_in_circles_is_warned_of() -> None:
    graph = make(choose, {"yes": "a", "no": "b"})
    graph.add_node("d", lambda state: None)
    assert "node c cannot be reached from entry point a" in graph.warnings
    graph = make(choose, {"yes": "d", "no": "b", "maybe": "c"})
    graph.add_node("d", lambda state: None)
    graph.add_conditional_edges("d", choose, ["d"])
    assert graph.warnings == ["from node d no exit point can be reached"]


def test_without_a_mapping_it_may_lead_to_every_node_also_to_later_ones() -> None:
    graph = StateGraph("g")
    graph.add_node("a", lambda state: None)
    graph.add_conditional_edges("a", choose)
    assert [edge.target for edge in graph.edges["a"]] == ["a", END]

    @graph.node
    def later(state: State) -> None:
        return None

    assert [edge.target for edge in graph.edges["a"]] == ["a", "later", END]
    assert graph.routes["a"].targets is None


def test_nodes_may_be_given_as_functions_and_answers_as_members() -> None:
    def good(state: State) -> None:
        return None

    graph = StateGraph("g")
    graph.add_node("a", lambda state: None)
    graph.node(good)
    graph.add_conditional_edges("a", choose, {Verdict.GOOD: good, None: END, True: "a"})
    assert [(edge.name, edge.target) for edge in graph.edges["a"]] == [("GOOD", "good"), ("None", END), ("True", "a")]


def test_the_drawings_show_what_each_answer_leads_to() -> None:
    graph = make()
    assert graph.to_text() == (
        "a  [entry]\n  -> b  if choose answers yes\n  -> c  if choose answers no\n  -> END  if choose answers stop\n"
        "b  [exit]\nc  [exit]\n"
    )
    assert graph.to_mermaid() == (
        'flowchart TD\n    n0(["a"])\n    n1[["b"]]\n    n2[["c"]]\n    n3[["END"]]\n'
        '    n0 -.->|"yes"| n1\n    n0 -.->|"no"| n2\n    n0 -.->|"stop"| n3\n'
    )
    drawn = dot(graph)
    assert 'n0 -> n3 [label="stop", style=dashed]' in drawn
    assert '[label="END", tooltip="END"' in drawn
    picture = graph._repr_html_()
    assert picture.count("stroke-dasharray") == 3
    assert "__end__" not in picture + drawn


def test_a_route_without_a_mapping_is_drawn_to_every_node() -> None:
    graph = make()
    graph = StateGraph("g")
    graph.add_node("a", lambda state: None)
    graph.add_conditional_edges("a", choose)
    assert graph.to_text() == "a\n  -> a  if choose answers a\n  -> END  if choose answers END\n"
    assert graph.to_mermaid() == 'flowchart TD\n    n0["a"]\n    n1[["END"]]\n    n0 -.-> n0\n    n0 -.-> n1\n'


# A notebook's cell is run again.


def defined(answer: str) -> Callable[[State], str]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(f"def choose(state):\n    return {answer!r}\n", names)
    route: Callable[[State], str] = names["choose"]
    return route


def test_given_again_a_route_replaces_its_former_self() -> None:
    graph = make(defined("yes"))
    again = defined("no")
    graph.add_conditional_edges("a", again, {"no": "c", "yes": "b"})
    assert graph.routes["a"].function is again
    assert [edge.target for edge in graph.edges["a"]] == ["c", "b"]
    graph.add_conditional_edges("b", lambda state: "c")
    graph.add_conditional_edges("b", lambda state: "a")


def test_a_graph_that_has_run_takes_back_only_the_same_route() -> None:
    graph = make(defined("yes"))
    graph.freeze()
    same = {"yes": "b", "no": "c", "stop": END}
    graph.add_conditional_edges("a", defined("yes"), same)
    for route, mapping in ((defined("no"), same), (defined("yes"), {"yes": "b"}), (defined("yes"), None)):
        with pytest.raises(GraphError, match="the route of node a is another"):
            graph.add_conditional_edges("a", route, mapping)
    with pytest.raises(GraphError, match="the route of node b is new"):
        graph.add_conditional_edges("b", choose)


# What has changed.


def notes(old: StateGraph, new: StateGraph, **run: Any) -> list[str]:
    finished = {"a": old.nodes["a"].fingerprint}
    found = compare(current=new.fingerprint(), graph_name="g", admitted=old.fingerprint(), finished=finished, **run)
    return [*found.notes, *(f"! {text}" for text in found.blocking)]


def test_an_unchanged_route_is_no_change() -> None:
    assert notes(make(), make()) == []
    assert notes(make(version="1"), make(lambda state: "no", version="1")) == []
    assert make().fingerprint(make().fingerprint()) == make().fingerprint()


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "its code": (
        {"route": lambda state: "yes"},
        {"route": lambda state: "no"},
        ["the route of node 'a' changed (its code)"],
    ),
    "its version": ({"version": 1}, {"version": 2}, ["the route of node 'a' changed (version '1' -> '2')"]),
    "what it depends on": (
        {"depends_on": [generator]},
        {},
        [f"the route of node 'a' changed (it no longer depends on {generator.__module__}.generator)"],
    ),
    "what is bound to it": (
        {"route": functools.partial(lambda limit, state: "yes", 1), "name": "x"},
        {"route": functools.partial(lambda limit, state: "yes", 2), "name": "x"},
        ["the route of node 'a' changed (its code)"],
    ),
    "where an answer leads": (
        {"mapping": {"yes": "b", "no": "c", "stop": END}},
        {"mapping": {"yes": "c", "no": "c", "more": "b"}},
        [
            "the answer 'yes' of the route of node 'a' leads to 'c' now, and led to 'b'",
            "the answer 'stop' of the route of node 'a' leads nowhere now, and led to the end of the run",
            "the answer 'more' of the route of node 'a' leads to 'b' now, and led nowhere",
        ],
    ),
    "a new one": ({"route": None}, {}, ["the route of node 'a' is new"]),
    "none any more": ({}, {"route": None}, ["the route of node 'a' is gone"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_a_changed_route_is_told_and_stands_in_nobodys_way(case: str) -> None:
    old, new, said = CHANGES[case]
    assert notes(make(**old), make(**new)) == said


def test_a_mapping_that_comes_or_goes_is_told() -> None:
    free = StateGraph("g")
    for name in "abc":
        free.add_node(name, lambda state: None)
    free.add_conditional_edges("a", choose)
    free.set_entry_point("a")
    free.set_exit_point("b")
    free.set_exit_point("c")
    assert notes(free, make()) == ["the route of node 'a' answers with an answer for each way it may go now"]
    assert notes(make(), free) == ["the route of node 'a' answers with the names of nodes now"]
    assert notes(make(), free, edges_taken=[("a", "b")]) == notes(make(), free)


def test_a_way_that_was_taken_and_is_gone_stands_in_the_way() -> None:
    found = notes(make(), make(mapping={"no": "c", "yes": "c"}), edges_taken=[("a", "b")])
    assert "! edge 'a' -> 'b', which this run has taken, is gone" in found


def test_another_node_is_no_other_route() -> None:
    """Where the answers are names of nodes: else every new node would be told as a change of the route."""
    old, new = StateGraph("g"), StateGraph("g")
    for graph in (old, new):
        graph.add_node("a", lambda state: None)
        graph.add_conditional_edges("a", choose)
    new.add_node("b", lambda state: None)
    assert notes(old, new) == ["node 'b' is new"]


def test_a_route_in_c_is_told_apart_by_its_version_only() -> None:
    one, other = make(operator.itemgetter("x")), make(operator.itemgetter("y"))
    assert notes(one, other) == []
    assert one.routes["a"].name == "itemgetter"
