"""What an edited graph means for a run that waits: what goes on with a note, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tau.graph.changes import Comparison, compare
from tau.graph.fingerprint import CodeFingerprint, GraphFingerprint, NodeFingerprint
from tau.graph.graph import Graph
from tau.predicates import key_equals, key_exists

# The run: a, b and c are finished (b twice), d is next, e and x were not reached. b -> a is the way back, taken once.
ROUTES = [("a", "b", None), ("b", "a", "again"), ("b", "c", None), ("c", "d", "go"), ("c", "x", None), ("d", "e", None)]
TAKEN = {("a", "b"), ("b", "a"), ("b", "c"), ("c", "d")}


def code_of(name: str) -> Callable[[Any], Any]:
    """Different code for each name."""
    bodies: dict[str, Callable[[Any], Any]] = {
        "a": lambda state: {"a": state["a"] + 1},
        "b": lambda state: {"b": state["b"] + 2},
        "c": lambda state: {"c": state["c"] + 3},
        "d": lambda state: {"d": state["d"] + 4},
        "e": lambda state: {"e": state["e"] + 5},
        "x": lambda state: {"x": state["x"] + 6},
        "new": lambda state: {"new": 7},
    }
    return bodies[name]


def graph(
    *,
    name: str = "climate",
    nodes: str = "a b c d e x",
    codes: dict[str, Any] | None = None,
    routes: list[Any] | None = None,
    entry: str = "a",
    exits: str = "e x",
    options: dict[str, Any] | None = None,
) -> GraphFingerprint:
    built = Graph(name)
    for node in nodes.split():
        function = (codes or {}).get(node) or code_of(node)
        built.add_node(node, function, **(options or {}).get(node, {}))
    for source, target, key in ROUTES if routes is None else routes:
        built.add_edge(source, target, None if key is None else key if callable(key) else key_exists(key))
    built.set_entry_point(entry)
    for node in exits.split():
        built.set_exit_point(node)
    return built.fingerprint()


def judge(current: GraphFingerprint, admitted: GraphFingerprint | None = None, **of_run: Any) -> Comparison:
    admitted = graph() if admitted is None else admitted
    run: dict[str, Any] = {"graph_name": admitted.name, "edges_taken": TAKEN, "pending": "d"} | of_run
    run.setdefault("finished", {name: admitted.nodes[name] for name in "abc"})
    return compare(current=current, admitted=admitted, **run)


CHANGED = code_of("new")
without = [route for route in ROUTES if route[:2] != ("c", "d")]

GOES_ON: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "the node in flight changed": ({"codes": {"d": CHANGED}}, ["node 'd', which comes next, changed"]),
    "a later node changed": ({"codes": {"e": CHANGED}}, ["node 'e', not run yet, changed"]),
    "a node was added": (
        {"nodes": "a b c d e x new", "routes": [*ROUTES, ("d", "new", "k"), ("new", "e", None)]},
        ["node 'new' is new", "edge 'd' -> 'new' is new", "edge 'new' -> 'e' is new"],
    ),
    "a node not run yet was removed": (
        {"nodes": "a b c d e", "routes": [r for r in ROUTES if r[1] != "x"], "exits": "e"},
        ["node 'x', not run yet, is gone", "edge 'c' -> 'x' is gone"],
    ),
    "an edge not yet taken was removed": (
        {"routes": [r for r in ROUTES if r[1] != "x"]},
        ["edge 'c' -> 'x' is gone"],
    ),
    "a predicate of a taken edge changed": (
        {"routes": [(s, t, "other" if t == "d" else k) for s, t, k in ROUTES]},
        ["the predicate of edge 'c' -> 'd' changed"],
    ),
    "the value that a predicate compares with changed": (
        {"routes": [(s, t, key_equals("go", 2) if t == "d" else k) for s, t, k in ROUTES]},
        ["the predicate of edge 'c' -> 'd' changed"],
    ),
    "a predicate was added": (
        {"routes": [(s, t, "k" if t == "e" else k) for s, t, k in ROUTES]},
        ["the predicate of edge 'd' -> 'e' changed"],
    ),
    "a predicate was removed": (
        {"routes": [(s, t, None if t == "d" else k) for s, t, k in ROUTES]},
        ["the predicate of edge 'c' -> 'd' changed"],
    ),
    "the edges of a node were reordered": (
        {"routes": [ROUTES[0], ROUTES[2], ROUTES[1], *ROUTES[3:]]},
        ["the edges from 'b' are tried in another order"],
    ),
    "a second edge beside another": (
        {"routes": [*ROUTES, ("d", "e", "k")]},
        ["edge 'd' -> 'e' is there another number of times"],
    ),
    "another entry point": ({"entry": "b"}, ["the entry point is now 'b', this run began at 'a'"]),
    "the node in flight became an exit": ({"exits": "e x d"}, ["node 'd' became an exit point"]),
    "a later node is no exit any more": ({"exits": "e"}, ["node 'x' is not an exit point any more"]),
    "the nodes were added in another order": ({"nodes": "x e d c b a"}, []),
    "a version was given to unchanged code": ({"options": {"a": {"version": "1"}}}, []),
}

REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a finished node changed": ({"codes": {"b": CHANGED}}, ["finished node 'b' changed (its code)"]),
    "two finished nodes changed": (
        {"codes": {"a": CHANGED, "c": CHANGED}},
        ["finished node 'a' changed", "finished node 'c' changed"],
    ),
    "a finished node is gone": (
        {"nodes": "b c d e x", "routes": [r for r in ROUTES if "a" not in r[:2]], "entry": "b"},
        ["finished node 'a' is gone", "edge 'a' -> 'b', which this run has taken", "edge 'b' -> 'a', which this run"],
    ),
    "a finished node was renamed": (
        {
            "nodes": "a b new d e x",
            "codes": {"new": code_of("c")},
            "routes": [("new" if s == "c" else s, "new" if t == "c" else t, k) for s, t, k in ROUTES],
        },
        [
            "finished node 'c' is gone (the new node 'new' has the same code: renamed?)",
            "edge 'b' -> 'c'",
            "edge 'c' -> 'd'",
        ],
    ),
    "a finished node became an exit": ({"exits": "e x b"}, ["finished node 'b' became an exit point"]),
    "a finished node depends on something new": (
        {"options": {"a": {"depends_on": [code_of]}}},
        ["finished node 'a' changed (it now depends on"],
    ),
    "an edge taken is gone": ({"routes": without}, ["edge 'c' -> 'd', which this run has taken, is gone"]),
    "the way back taken is gone": (
        {"routes": [r for r in ROUTES if r[:2] != ("b", "a")]},
        ["edge 'b' -> 'a', which this run has taken, is gone"],
    ),
    "the node in flight is gone": (
        {"nodes": "a b c e x", "routes": [r for r in ROUTES if "d" not in r[:2]], "exits": "x"},
        [
            "the node to run next, 'd', is gone, and no on_change= can replace it",
            "edge 'c' -> 'd', which this run has taken, is gone",
        ],
    ),
    "the node in flight was renamed": (
        {
            "nodes": "a b c new e x",
            "codes": {"new": code_of("d")},
            "routes": [("new" if s == "d" else s, "new" if t == "d" else t, k) for s, t, k in ROUTES],
        },
        ["the node to run next, 'd', is gone (the new node 'new' has the same code: renamed?)", "edge 'c' -> 'd'"],
    ),
    "another graph of the same shape": (
        {"name": "weather"},
        ["the run belongs to graph 'climate', this graph is 'weather'"],
    ),
    "two nodes swapped their names": (
        {"codes": {"a": code_of("b"), "b": code_of("a")}},
        ["finished node 'a' changed", "finished node 'b' changed"],
    ),
}


@pytest.mark.parametrize("edit", GOES_ON)
def test_after_these_edits_a_run_goes_on_and_they_are_noted(edit: str) -> None:
    changes, notes = GOES_ON[edit]
    found = judge(graph(**changes))
    assert found.blocking == []
    assert found.notes == notes


@pytest.mark.parametrize("edit", REFUSED)
def test_after_these_edits_a_run_is_refused_with_every_reason(edit: str) -> None:
    changes, reasons = REFUSED[edit]
    found = judge(graph(**changes))
    assert len(found.blocking) == len(reasons), found.blocking
    for sentence, reason in zip(sorted(found.blocking), sorted(reasons), strict=True):
        assert sentence.startswith(reason)


@pytest.mark.parametrize("edit", REFUSED)
def test_what_to_do_is_said_once_for_all_reasons(edit: str) -> None:
    found = judge(graph(**REFUSED[edit][0]))
    ways = ("restore what was changed", "start a new run id", "use the graph of that name")
    assert any(way in found.ways for way in ways)
    assert len(found.ways) == len(set(found.ways))
    assert not [sentence for sentence in found.blocking if "start a new run id" in sentence]


def test_the_node_in_flight_may_not_change_once_it_has_finished_items() -> None:
    edited = graph(codes={"d": CHANGED})
    assert judge(edited, has_items=False).blocking == []
    found = judge(edited, has_items=True)
    assert found.blocking == ["node 'd', in which steps or files are finished already, changed (its code)"]
    assert [way.partition("=")[2].partition(" ")[0] for way in found.ways[-2:]] == ["'continue'", "'redo'"]
    assert judge(graph(codes={"e": CHANGED}), has_items=True).blocking == []


def test_a_node_that_is_in_flight_again_counts_as_finished() -> None:
    found = judge(graph(codes={"b": CHANGED}), pending="b")
    assert [sentence.split(":")[0] for sentence in found.blocking] == ["finished node 'b' changed (its code)"]
    assert found.notes == []
    found = judge(graph(codes={"b": CHANGED}), pending="b", has_items=True)
    assert found.blocking[1:] == [
        "node 'b', in which this time steps or files are finished already, changed (its code)"
    ]
    assert found.ways[-1].startswith("on_change='redo'")
    assert judge(graph(), pending="b", has_items=True).blocking == []


def test_before_the_first_node_finished_everything_but_the_entry_may_change() -> None:
    edited = graph(codes={"a": CHANGED, "b": CHANGED}, exits="b")
    assert judge(edited, finished={}, edges_taken=(), pending="a").blocking == []


def test_the_fingerprint_of_the_visit_counts_not_that_of_the_admission() -> None:
    visited = graph(codes={"b": CHANGED}).nodes["b"]
    finished = {**{name: graph().nodes[name] for name in "ac"}, "b": visited}
    assert judge(graph(codes={"b": CHANGED}), finished=finished).blocking == []
    assert len(judge(graph(), finished=finished).blocking) == 1


def test_a_node_that_always_was_an_exit_does_not_block() -> None:
    admitted = graph(exits="c e x")
    assert judge(admitted, admitted).blocking == []


def test_edges_read_back_as_lists_are_the_same_edges() -> None:
    assert judge(graph(), edges_taken=[["a", "b"], ["c", "d"]]).blocking == []


def opaque(version: str | None = None) -> GraphFingerprint:
    return graph(codes={"b": dict, "d": dict}, options={"b": {"version": version}, "d": {"version": version}})


def test_a_finished_node_without_code_needs_a_version() -> None:
    found = judge(opaque(), opaque())
    (sentence,) = found.blocking
    assert "finished node 'b' has no Python code" in sentence
    assert "version=" in found.ways[0]
    assert judge(opaque("1"), opaque("1")) == Comparison(notes=[], blocking=[])
    assert "version '1' -> '2'" in judge(opaque("2"), opaque("1")).blocking[0]


def test_a_node_in_flight_without_code_goes_on_with_a_note_unless_it_has_items() -> None:
    finished = {"a": graph().nodes["a"]}
    found = judge(opaque(), opaque(), finished=finished)
    assert (found.blocking, len(found.notes)) == ([], 1)
    assert len(judge(opaque(), opaque(), finished=finished, has_items=True).blocking) == 1


def aged(fingerprint: GraphFingerprint, tree: str | None) -> GraphFingerprint:
    """The same graph as another Python minor version would have recorded it."""

    def old(node: NodeFingerprint) -> NodeFingerprint:
        return replace(node, code=CodeFingerprint("3.10", "other bytecode", tree))

    return replace(fingerprint, python="3.10", nodes={name: old(node) for name, node in fingerprint.nodes.items()})


def test_another_python_with_the_same_source_changes_nothing() -> None:
    def with_tree(fingerprint: GraphFingerprint) -> GraphFingerprint:
        nodes = {n: replace(v, code=replace(v.code, ast="tree")) for n, v in fingerprint.nodes.items()}
        return replace(fingerprint, nodes=nodes)

    assert judge(with_tree(graph()), aged(graph(), "tree")) == Comparison(notes=[], blocking=[])


def test_another_python_without_a_source_to_compare_is_a_warning() -> None:
    found = judge(graph(), aged(graph(), None))
    assert found.blocking == []
    assert len(found.notes) == 4
    assert all("cannot be known" in note and "3.10" in note for note in found.notes)


class Counted(tuple):  # type: ignore[type-arg]
    """Edges that count how often somebody goes through them."""

    gone_through = 0

    def __iter__(self) -> Any:
        Counted.gone_through += 1
        return super().__iter__()


@pytest.mark.parametrize("length", [10, 1_000])
def test_edges_are_gone_through_as_often_for_a_long_graph_as_for_a_short_one(length: int) -> None:
    long = Graph("long")
    names = [f"n{number}" for number in range(length)]
    for name in names:
        long.add_node(name, lambda state: None)
    long.sequence(*names)
    found = replace(long.fingerprint(), edges=Counted(long.fingerprint().edges))
    Counted.gone_through = 0
    taken = [(edge.source, edge.target) for edge in long.fingerprint().edges]
    judgement = compare(
        current=found, graph_name="long", admitted=found, finished=found.nodes, edges_taken=taken, pending=None
    )
    assert judgement == Comparison(notes=[], blocking=[])
    assert Counted.gone_through <= 4


OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "a finished node is other code": ({"codes": {"b": CHANGED}}, {}, ["b"]),
    "a finished node is not there": (
        {"nodes": "a b d e x", "routes": [route for route in ROUTES if "c" not in route[:2]]},
        {},
        ["c"],
    ),
    "the next node is not there": (
        {"nodes": "a b c e x", "routes": [route for route in ROUTES if "d" not in route[:2]]},
        {},
        ["d"],
    ),
    "nothing is finished, and the next node is other code": (
        {"codes": {"a": CHANGED}},
        {"finished": {}, "edges_taken": (), "pending": "a"},
        ["a"],
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_of_another_graph_is_not_offered_another_way(name: str) -> None:
    edited, of_run, nodes = OTHERS[name]
    found = judge(graph(name="weather", **edited), **of_run)
    assert found.foreign
    assert not found.notes
    (said,) = found.blocking
    assert said.startswith("the run belongs to graph 'climate', this graph is 'weather', in which ")
    assert "on_change" not in said
    assert all(repr(node) in said for node in nodes)
    assert not judge(graph(**edited), **of_run).foreign


def test_a_renamed_graph_may_have_changed_where_the_run_has_not_been() -> None:
    found = judge(graph(name="weather", codes={"d": CHANGED, "e": CHANGED}))
    assert not found.foreign
    assert len(found.blocking) == 1


def test_what_is_told_of_a_run_is_its_own_and_the_next_one_is_judged_anew() -> None:
    """Runs that a worker takes are mostly alike, and then judged once."""
    now, said = graph(codes={"d": CHANGED}), ["node 'd', which comes next, changed"]
    first = judge(now)
    assert first.notes == said
    first.notes.append("more")
    first.ways.append("another")
    assert (judge(now).notes, judge(now).ways) == (said, [])
    assert judge(graph()).notes == []
    assert judge(now, has_items=True).blocking
    assert judge(now).blocking == []
    assert judge(now, misfits={"key": "it is odd"}).blocking == ["the state does not fit the schema: 'key': it is odd"]
