"""Graphs: how they are built, what is wrong with them, and how they are drawn."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tau.config import Retry
from tau.errors import ConfigError, GraphError
from tau.graph.graph import Graph
from tau.predicates import key_equals, key_exists


def ingest(state: Any) -> None:
    """Stands for any work."""


def analyze(state: Any) -> None:
    """Stands for any other work."""


def report(state: Any) -> None:
    """Stands for the last work."""


async def is_done(state: Any) -> bool:
    return True


def graph_of(nodes: str, *edges: str, entry: str | None = None, exits: str = "") -> Graph:
    """``graph_of("a b", "a b", entry="a", exits="b")``: nodes a and b, an edge between them, entry a, exit b."""
    graph = Graph("g")
    for name in nodes.split():
        graph.add_node(name, lambda state: None)
    for edge in edges:
        source, target, *key = edge.split()
        graph.add_edge(source, target, key_exists(key[0]) if key else None)
    if entry is not None:
        graph.set_entry_point(entry)
    for name in exits.split():
        graph.set_exit_point(name)
    return graph


def problems(graph: Graph) -> list[str]:
    with pytest.raises(GraphError, match=r"^graph validation failed: ") as caught:
        graph.validate()
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return list(caught.value.problems)


# Building


def test_nodes_edges_entry_and_exits_are_kept_in_the_order_added() -> None:
    graph = graph_of("a b c", "a c k", "a b", "b c", "a c", entry="a", exits="c b")
    assert list(graph.nodes) == ["a", "b", "c"]
    assert [(edge.target, edge.index, edge.predicate is None) for edge in graph.edges["a"]] == [
        ("c", 0, False),
        ("b", 1, True),
        ("c", 2, True),
    ]
    assert (graph.entry_point, list(graph.exit_points)) == ("a", ["c", "b"])


def test_what_a_graph_holds_is_read_only() -> None:
    graph = graph_of("a")
    with pytest.raises(TypeError):
        graph.nodes["b"] = graph.nodes["a"]  # type: ignore[index]
    with pytest.raises(TypeError):
        graph.edges["a"] = ()  # type: ignore[index]


@pytest.mark.parametrize("name", ["", None, 3, "a\0b", "x" * 257])
def test_a_graph_needs_a_name(name: Any) -> None:
    with pytest.raises(GraphError, match="graph name"):
        Graph(name)


def test_a_node_is_added_once() -> None:
    graph = graph_of("a")
    with pytest.raises(GraphError, match="node a already exists"):
        graph.add_node("a", ingest)
    with pytest.raises(GraphError, match="node name cannot be empty"):
        graph.add_node("", ingest)
    with pytest.raises(GraphError, match="expected a callable"):
        graph.add_node("b", None)  # type: ignore[arg-type]


def test_a_decorator_adds_the_function_and_returns_it_unchanged() -> None:
    graph = Graph("g")

    def work(state: Any) -> None:
        """Stands for any work."""

    assert graph.node(work) is work
    assert graph.node(name="other", retry=Retry(attempts=2), timeout=3)(work) is work
    assert graph.nodes["work"].function is work
    assert (graph.nodes["other"].retry, graph.nodes["other"].timeout) == (Retry(attempts=2), 3.0)


def define(graph: Graph, answer: int) -> Any:
    """A cell of a notebook: run again, it defines the same function anew."""

    @graph.node
    def work(state: Any) -> dict[str, int]:
        return {"answer": answer}

    return work


def test_a_function_defined_again_replaces_its_former_self_until_the_first_run() -> None:
    graph = Graph("g")
    define(graph, 1)
    second = define(graph, 2)
    assert graph.nodes["work"].function is second
    graph.sequence("work")
    graph.freeze()
    assert graph.nodes["work"].function is second
    with pytest.raises(
        GraphError, match="cannot be changed any more: node work is not what it was; build the graph again"
    ):
        define(graph, 3)


@pytest.mark.parametrize("again", ["node", "edge", "sequence"])
def test_a_function_over_a_name_without_a_value_yet_can_be_defined_again(again: str) -> None:
    graph = Graph("g")
    graph.add_node("end", report)

    def cell() -> Any:
        def work(state: Any) -> Any:
            return helper(state)

        if again == "edge":
            graph.node(name="work")(ingest) if "work" not in graph.nodes else None
            graph.add_edge("work", "end", work, name="later")
        elif again == "sequence":
            graph.sequence(work, "end")
        else:
            graph.node(work)

        def helper(state: Any) -> Any: ...

    cell()
    cell()
    assert list(graph.nodes) == ["end", "work"]
    if again == "edge":  # made in a function, they may differ by what they are made over
        assert len(graph.edges["work"]) == 2


def is_wet(state: Any) -> bool:
    return True


def build(graph: Graph, rate: float = 1.0) -> None:
    """What a notebook's cell does, each time it is run."""

    @graph.node(timeout=5.0)
    def clean(state: Any) -> dict[str, float]:
        return {"rate": 2.0}

    def fit(state: Any) -> None:
        """Redefined without a decorator."""

    graph.sequence(ingest, clean, fit, report)
    graph.add_edge(clean, "fit", key_equals("a", 1), name="one")
    graph.add_edge(clean, "fit", is_wet)
    graph.add_edge(clean, "fit", lambda state: state["hot"], name="hot")
    graph.set_entry_point(ingest)
    graph.set_exit_point(report)


def test_a_cell_that_is_run_again_changes_nothing_before_and_after_the_first_run() -> None:
    graph = Graph("g")
    build(graph)
    text, fingerprint = graph.to_text(), graph.fingerprint()
    build(graph)
    assert (graph.to_text(), graph.fingerprint()) == (text, fingerprint)
    graph.freeze()
    build(graph)
    assert (graph.to_text(), graph.fingerprint()) == (text, fingerprint)


def test_a_condition_that_is_edited_and_run_again_replaces_the_one_of_before() -> None:
    graph = graph_of("a b")
    graph.add_edge("a", "b", lambda state: state["hot"], name="hot")
    colder = lambda state: state["cold"]  # noqa: E731
    graph.add_edge("a", "b", colder, name="hot")
    assert [edge.predicate for edge in graph.edges["a"]] == [colder]
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    graph.freeze()
    with pytest.raises(GraphError, match="the edge a -> b is another; build the graph again"):
        graph.add_edge("a", "b", lambda state: state["warm"], name="hot")


def test_conditions_that_differ_by_closure_or_argument_stay_beside_each_other() -> None:
    graph = graph_of("a b")

    def has(key: str) -> Any:
        def holds(state: Any) -> bool:
            return key in state

        return holds

    for key in "xy":
        graph.add_edge("a", "b", has(key))
        graph.add_edge("a", "b", key_exists(key), name="same")
        graph.add_edge("a", "b", lambda state, key=key: state[key])
    assert len(graph.edges["a"]) == 6


def test_another_function_does_not_replace_a_node_of_the_same_name() -> None:
    graph = Graph("g")
    graph.node(ingest)
    with pytest.raises(GraphError, match="node ingest already exists"):
        graph.node(name="ingest")(report)


def test_functions_without_a_name_of_their_own_do_not_replace_each_other() -> None:
    graph = Graph("g")
    for function in (functools.partial(report), lambda state: None):
        name = type(function).__name__
        graph.node(name=name)(function)
        with pytest.raises(GraphError, match=f"node {name} already exists"):
            graph.node(name=name)(functools.partial(report) if name == "partial" else lambda state: None)


class Stages:
    def clean(self, state: Any) -> None:
        """Stands for any work of an object."""


def test_a_method_is_the_same_node_however_often_it_is_looked_up() -> None:
    graph, stages = Graph("g"), Stages()
    graph.sequence(ingest, stages.clean)
    graph.add_edge(stages.clean, ingest)
    assert list(graph.nodes) == ["ingest", "clean"]
    with pytest.raises(GraphError, match="node clean exists with another function"):
        graph.add_edge(ingest, Stages().clean)


def test_an_edge_is_named_after_its_predicate_unless_named() -> None:
    def is_hot(state: Any) -> bool:
        return True

    graph = graph_of("a b", "a b")
    graph.add_edge("a", "b", is_hot)
    graph.add_edge("a", "b", key_equals("valid", False))
    graph.add_edge("a", "b", key_exists("k"), name="invalid")
    graph.add_edge("a", "b", functools.partial(is_hot))
    names = [edge.name for edge in graph.edges["a"]]
    assert names == ["", "is_hot", "key_equals('valid', False)", "invalid", "partial"]


@pytest.mark.parametrize("predicate", ["k", 3, is_done])
def test_a_predicate_that_cannot_be_asked_is_refused(predicate: Any) -> None:
    with pytest.raises(GraphError, match="edge a -> b"):
        graph_of("a b").add_edge("a", "b", predicate)


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_node_is_named_by_text(name: Any) -> None:
    graph = graph_of("a")
    for call in (
        lambda: graph.add_edge(name, "a"),
        lambda: graph.add_edge("a", name),
        lambda: graph.set_exit_point(name),
    ):
        with pytest.raises(GraphError, match=r"node|exit point"):
            call()
    with pytest.raises(GraphError, match="entry point"):
        graph.set_entry_point(name)


def test_nodes_can_be_named_by_their_functions() -> None:
    graph = Graph("g")
    graph.add_node("first", ingest)
    graph.node(report)
    graph.add_edge(ingest, report)
    graph.set_entry_point(ingest)
    graph.set_exit_point(report)
    graph.validate()
    assert (graph.entry_point, graph.edges["first"][0].target) == ("first", "report")


def test_a_function_that_is_several_nodes_names_none() -> None:
    graph = Graph("g")
    graph.add_node("a", ingest)
    graph.add_node("b", ingest)
    with pytest.raises(GraphError, match="nodes a, b; use a name"):
        graph.set_entry_point(ingest)


def test_the_entry_point_is_set_once() -> None:
    graph = graph_of("a b", entry="a")
    with pytest.raises(GraphError, match="entry point already set to a"):
        graph.set_entry_point("b")


# A sequence


def test_a_sequence_adds_what_is_missing_and_sets_entry_and_exit() -> None:
    graph = Graph("g")
    graph.add_node("clean", lambda state: None)
    graph.node(report)
    graph.sequence(ingest, "clean", analyze, report)
    graph.validate()
    assert set(graph.nodes) == {"ingest", "clean", "analyze", "report"}
    assert [graph.edges[name][0].target for name in ("ingest", "clean", "analyze")] == ["clean", "analyze", "report"]
    assert (graph.entry_point, list(graph.exit_points)) == ("ingest", ["report"])


def test_a_sequence_of_one_is_entry_and_exit() -> None:
    graph = Graph("g")
    graph.sequence(ingest)
    graph.validate()
    assert (graph.entry_point, list(graph.exit_points)) == ("ingest", ["ingest"])


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ((), "at least one"),
        ((ingest, "missing"), "node missing does not exist"),
        ((ingest, report, ingest), "node ingest appears twice"),
        ((ingest, lambda state: None), "no name of its own"),
        ((ingest, functools.partial(report)), "no name of its own"),
        ((ingest, 3), "sequence must be the name of a node, or its function, found 3"),
        ((report, ingest), "entry point already set to a"),
    ],
)
def test_a_wrong_sequence_is_refused_and_changes_nothing(nodes: tuple[Any, ...], text: str) -> None:
    graph = graph_of("a", entry="a")
    with pytest.raises(GraphError, match=text):
        graph.sequence(*nodes)
    assert (list(graph.nodes), dict(graph.edges), list(graph.exit_points)) == (["a"], {}, [])


# What is wrong with a whole graph


def test_a_sound_graph_has_no_problems() -> None:
    graph_of("a b", "a b", entry="a", exits="b").validate()


def test_all_problems_of_an_empty_graph_are_told_at_once() -> None:
    assert problems(Graph("g")) == [
        "graph has no nodes",
        "entry point not set: call sequence(...) or set_entry_point(node)",
        "no exit points set: call sequence(...) or set_exit_point(node)",
    ]


def test_names_that_never_came_are_all_found() -> None:
    graph = graph_of("a b", "a b", "a ghost", "phantom b", entry="nowhere", exits="b void")
    found = problems(graph)
    assert [problem.split(" (")[0] for problem in found] == [
        "entry point nowhere does not exist",
        "exit point void does not exist",
        "edge a -> ghost: to node ghost does not exist",
        "edge phantom -> b: from node phantom does not exist",
    ]


def test_edges_may_be_added_before_their_nodes() -> None:
    graph = Graph("g")
    graph.add_edge("a", "b")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    graph.add_node("b", report)
    graph.add_node("a", ingest)
    graph.validate()


def test_an_exit_that_no_edge_leads_to_is_found() -> None:
    assert problems(graph_of("a b c", "a b", "c c", entry="a", exits="b c")) == [
        "exit point c cannot be reached from entry point a"
    ]


def test_an_exit_behind_another_exit_is_a_warning_as_a_run_is_cut_short_so_in_development() -> None:
    graph = graph_of("a b c d", "a b", "b c", "c d", entry="a", exits="b d")
    graph.validate()
    assert graph.warnings == [
        "edge b -> c is never taken: b is an exit point",
        "node c cannot be reached from entry point a",
        "exit point d is never reached: every way leads through another exit point, which ends the run",
    ]


def test_an_exit_behind_an_exit_is_fine_when_another_way_leads_there() -> None:
    graph_of("a b c", "a b k", "a c", "b c", entry="a", exits="b c").validate()


def test_a_dead_end_is_found() -> None:
    assert problems(graph_of("a b c", "a b k", "a c", entry="a", exits="c")) == [
        "node b has no outgoing edges and is not an exit point"
    ]


def test_a_loop_with_a_way_out_is_sound() -> None:
    graph = graph_of("a b c", "a b", "b a k", "b c", "b b j", entry="a", exits="c")
    graph.validate()


def test_what_can_be_run_but_looks_wrong_is_a_warning() -> None:
    graph = graph_of("a b c d e", "a b", "a c", "b b", "c d k", "d c", "e a", entry="a", exits="")
    graph.set_exit_point("d")
    graph.add_edge("a", "d", key_exists("k"))
    assert graph.warnings == [
        "edge a -> c is never taken: a -> b always is",
        "edge a -> d is never taken: a -> b always is",
        "edge d -> c is never taken: d is an exit point",
        "node e cannot be reached from entry point a",
        "from node b no exit point can be reached",
    ]
    graph.validate()


def test_a_node_without_python_code_is_a_warning_because_its_runs_could_not_be_resumed() -> None:
    graph = Graph("g")
    graph.add_node("a", dict)
    graph.add_node("b", dict, version="1")
    (warning,) = graph.warnings
    assert warning.startswith("node a has no Python code")


# Freezing


def test_a_frozen_graph_refuses_every_change() -> None:
    graph = Graph("g")
    graph.sequence(ingest, report)
    graph.freeze()
    graph.freeze()
    changes: list[Any] = [
        lambda: graph.add_node("x", analyze),
        lambda: graph.node(analyze),
        lambda: graph.add_edge("ingest", "ingest"),
        lambda: graph.sequence("report"),
        lambda: graph.set_entry_point("report"),
        lambda: graph.set_exit_point("ingest"),
    ]
    before = graph.to_text()
    for change in changes:
        with pytest.raises(GraphError, match="graph g has been run and cannot be changed"):
            change()
    assert graph.to_text() == before


def test_a_graph_with_problems_does_not_freeze() -> None:
    graph = Graph("g")
    with pytest.raises(GraphError, match="graph has no nodes"):
        graph.freeze()
    graph.sequence(ingest)
    graph.freeze()


def test_many_threads_freeze_one_graph_and_see_one_fingerprint() -> None:
    graph, start = Graph("g"), threading.Barrier(8)
    graph.sequence(ingest, report)

    def first_run() -> Any:
        start.wait()
        graph.freeze()
        return graph.fingerprint()

    with ThreadPoolExecutor(8) as pool:
        found = [one.result() for one in [pool.submit(first_run) for _ in range(8)]]
    assert all(one == found[0] for one in found)
    assert graph.fingerprint() is graph.fingerprint()


def test_a_bad_timeout_is_a_config_error_and_adds_nothing() -> None:
    graph = Graph("g")
    with pytest.raises(ConfigError, match="node a: timeout"):
        graph.add_node("a", ingest, timeout=-1)
    assert not graph.nodes


# Drawing


def test_a_drawing_as_text_shows_every_node_and_edge() -> None:
    graph = graph_of("a b c", "a b k", "a c", "b c", entry="a", exits="c")
    assert graph.to_text() == "a  [entry]\n  -> b  if key_exists('k')\n  -> c\nb\n  -> c\nc  [exit]\n"


def test_a_drawing_as_mermaid_shows_every_node_and_edge() -> None:
    graph = graph_of("a b", "a b k", "b b", entry="a", exits="b")
    assert graph.to_mermaid().splitlines() == [
        "flowchart TD",
        '    n0(["a"])',
        '    n1[["b"]]',
        "    n0 -->|\"key_exists('k')\"| n1",
        "    n1 --> n1",
    ]


@pytest.mark.parametrize("name", ['a"]; click n0 "javascript:x"', "<script>", "x\nn9 --> n0", "`md`", "#quot;", "&lt;"])
def test_no_name_breaks_out_of_a_drawing(name: str) -> None:
    graph = Graph("g")
    graph.add_node(name, ingest)
    graph.add_edge(name, name, key_exists("k"), name=name)
    lines = graph.to_mermaid().splitlines()
    assert len(lines) == 3
    for line, quotes in zip(lines, (0, 2, 2), strict=True):
        assert line.count('"') == quotes
        assert "<" not in line
    assert len(graph.to_text().splitlines()) == 2


def test_an_unfinished_graph_can_be_drawn() -> None:
    graph = Graph("g")
    assert graph.to_text() == ""
    graph.add_edge("a", "b")
    assert graph.to_mermaid().count("n1") == 2
    assert repr(graph) == "Graph('g', 0 nodes, 1 edges)"
