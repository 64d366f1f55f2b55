"""`START` and `END` as the ends of edges: where a run begins and where it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tau import END, START, GraphError, State, StateGraph, always, key_equals


def nothing(state: State) -> None:
    return None


def graph(*names: str) -> StateGraph:
    made = StateGraph("ends")
    for name in names:
        made.add_node(name, nothing)
    return made


def test_an_edge_from_start_and_one_to_end_say_where_a_run_begins_and_ends() -> None:
    made = graph("a", "b")
    made.add_edge(START, "a")
    made.add_edge("a", "b")
    made.add_edge("b", END)
    assert (made.entry_point, list(made.exit_points)) == ("a", ["b"])
    assert made.execute({}).checkpoint_node == "b"


def test_the_ends_are_those_that_the_origin_sets() -> None:
    one, other = graph("a"), graph("a")
    one.add_edge(START, "a")
    one.add_edge("a", END)
    other.set_entry_point("a")
    other.set_exit_point("a")
    assert one.fingerprint() == other.fingerprint()
    assert one.to_mermaid() == other.to_mermaid()


def test_a_graph_may_have_several_ends() -> None:
    made = graph("a", "b", "c")
    made.add_edge(START, "a")
    made.add_edge("a", "b", key_equals("to", "b"))
    made.add_edge("a", "c")
    made.add_edge("b", END)
    made.add_edge("c", END)
    assert [made.execute({"to": to}).checkpoint_node for to in "bc"] == ["b", "c"]


def test_the_ends_may_be_given_again_also_after_a_run() -> None:
    made = graph("a")
    for _ in range(2):
        made.add_edge(START, "a")
        made.add_edge("a", END)
        made.execute({})
    assert list(made.exit_points) == ["a"]


def test_a_node_may_have_the_name_that_start_shows() -> None:
    made = graph("__start__", "b")
    made.add_edge("__start__", "b")
    assert made.entry_point is None
    assert made.edges["__start__"][0].target == "b"


WRONG: dict[str, tuple[Callable[[StateGraph], object], str]] = {
    "second beginning": (lambda made: made.add_edge(START, "b"), "entry point already set to a; a graph has one"),
    "condition at start": (lambda made: made.add_edge(START, "a", always()), "a node that returns None be the first"),
    "name at start": (lambda made: made.add_edge(START, "a", name="first"), "no condition and no name"),
    "route at start": (lambda made: made.add_conditional_edges(START, lambda state: "a"), "begins at one node"),
    "condition at end": (lambda made: made.add_edge("b", END, always()), "decide that with add_conditional_edges"),
    "to start": (lambda made: made.add_edge("b", START), "lead an edge back to the first"),
    "from end": (lambda made: made.add_edge(END, "a"), "no edge comes from END"),
    "from start to end": (lambda made: made.add_edge(START, END), "leads to the first node"),
    "beside an edge": (lambda made: made.add_edge("a", END), "edge a -> END: a has an edge to b"),
    "edge beside it": (lambda made: made.add_edge("c", "a"), "edge c -> a: c has an edge to END, so every run ends"),
    "beside a route": (lambda made: made.add_edge("d", END), "edge d -> END: node d has a route"),
    "in a sequence": (lambda made: made.sequence(START, "a", END), "leave out START and END"),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_contradicts_an_end_is_refused_and_changes_nothing(how: str) -> None:
    act, text = WRONG[how]
    made = graph("a", "b", "c", "d")
    made.add_edge(START, "a")
    made.add_edge("a", "b")
    made.add_edge("c", END)
    made.add_conditional_edges("d", lambda state: "a")
    before = made.fingerprint()
    with pytest.raises(GraphError, match=text):
        act(made)
    assert made.fingerprint() == before
