"""What one uninterrupted execution does."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from engine_steps import Steps, run

from tau import (
    CheckpointConfig,
    ConfigError,
    ExecutionError,
    GraphConfig,
    GraphError,
    LimitExceededError,
    State,
    StateGraph,
    UnknownObserverError,
    UnknownStoreError,
    UnserializableError,
    and_,
    key_equals,
    key_exists,
    not_,
    or_,
)
from tau.stores.contract import Store


def test_a_line_of_nodes_gathers_what_each_returns() -> None:
    final = Steps().graph.execute({"x": 1})
    assert dict(final) == {"x": 1, "a": 1, "b": 2, "c": 3, "d": 4, "path": ["a", "b", "c", "d"]}
    assert final.checkpoint_node == "d"


def test_the_first_edge_that_holds_is_taken_and_later_ones_are_not_asked() -> None:
    asked = []
    graph = StateGraph("g")
    for name in "abcd":
        graph.add_node(name, lambda state: None)
    graph.add_edge("a", "b", key_equals("x", 2))
    graph.add_edge("a", "c", lambda state: True)
    graph.add_edge("a", "d", lambda state: asked.append(1) or True)
    graph.set_entry_point("a")
    for name in "bcd":
        graph.set_exit_point(name)
    assert graph.execute({"x": 1}).checkpoint_node == "c"
    assert asked == []


def test_an_exit_point_ends_the_run_though_it_has_an_edge() -> None:
    graph = StateGraph("g")
    ran = []
    for name in "abc":
        graph.add_node(name, lambda state, name=name: ran.append(name))
    graph.add_edge("a", "b", key_equals("x", 1))
    graph.add_edge("a", "c")
    graph.add_edge("b", "c")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    graph.set_exit_point("c")
    assert graph.execute({"x": 1}).checkpoint_node == "b"
    assert ran == ["a", "b"]


def test_a_cycle_runs_until_its_predicate_turns() -> None:
    graph = StateGraph("g")
    graph.add_node("count", lambda state: {"n": state["n"] + 1})
    graph.add_node("end", lambda state: None)
    graph.add_edge("count", "count", lambda state: state["n"] < 5)
    graph.add_edge("count", "end")
    graph.set_entry_point("count")
    graph.set_exit_point("end")
    assert graph.execute({"n": 0})["n"] == 5


def test_an_endless_cycle_ends_at_max_iterations() -> None:
    ran = []
    graph = StateGraph(GraphConfig("g", observer="noop", max_iterations=5))
    graph.add_node("a", lambda state: ran.append("a"))
    graph.add_node("b", lambda state: ran.append("b"))
    graph.add_node("end", lambda state: None)
    graph.add_edge("a", "b")
    graph.add_edge("b", "a", lambda state: True)
    graph.add_edge("b", "end")
    graph.set_entry_point("a")
    graph.set_exit_point("end")
    with pytest.raises(ExecutionError, match=r"execution failed at node b: max iterations \(5\) exceeded") as caught:
        graph.execute({})
    assert isinstance(caught.value.__cause__, LimitExceededError)
    assert ran == ["a", "b", "a", "b", "a"]


def test_a_failure_says_where_why_and_with_what() -> None:
    steps = Steps()
    steps.failing = {"c"}
    with pytest.raises(ExecutionError) as caught:
        steps.graph.execute({"x": 1}, run_id="r")
    error = caught.value
    assert str(error) == "execution failed at node c: node execution failed: c broke"
    assert (error.node, error.run_id, tuple(error.path)) == ("c", "r", ("a", "b", "c"))
    assert isinstance(error.__cause__, ValueError)
    assert dict(error.state) == {"x": 1, "a": 1, "b": 2, "path": ["a", "b"]}
    assert error.state.checkpoint_node == "b"


@pytest.mark.parametrize("nonsense", [7, "text", [1], ("a", 1), object()])
def test_nonsense_from_a_node_is_named(nonsense: Any) -> None:
    graph = StateGraph("g")
    graph.add_node("a", lambda state: nonsense)
    graph.sequence("a")
    with pytest.raises(ExecutionError, match=f"node 'a' returned {type(nonsense).__name__}; return a mapping"):
        graph.execute({})


def test_a_predicate_that_raises_is_named_with_its_edge() -> None:
    graph = StateGraph("g")
    graph.add_node("a", lambda state: None)
    graph.add_node("b", lambda state: None)
    graph.add_edge("a", "b", lambda state: state["missing"], name="ready")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    with pytest.raises(ExecutionError, match=r"the predicate of edge a -> b \(ready\) failed") as caught:
        graph.execute({})
    assert isinstance(caught.value.__cause__, KeyError)


def test_no_edge_that_holds_is_an_error_of_that_node() -> None:
    graph = StateGraph("g")
    graph.add_node("a", lambda state: None)
    graph.add_node("b", lambda state: None)
    graph.add_edge("a", "b", key_equals("x", 1))
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    with pytest.raises(ExecutionError, match="no valid transition from node a"):
        graph.execute({"x": 2})


def test_it_names_the_conditions_that_were_asked_and_the_keys_they_look_at() -> None:
    graph = StateGraph("g")
    graph.add_node("a", lambda state: {"x": "a value that an error must not show"})
    graph.add_node("b", lambda state: None)
    graph.add_edge("a", "b", key_equals("x", 1), name="one")
    graph.add_edge("a", "b", or_(not_(key_exists("x")), and_(key_exists("y"), ready)))
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    with pytest.raises(ExecutionError) as caught:
        graph.execute({})
    said = str(caught.value)
    assert "b if key_equals('x', 1) [one], b if or_(not_(key_exists('x')), and_(key_exists('y')" in said
    assert "the state has 'x'; the state lacks 'y'" in said
    assert "must not show" not in said


def ready(state: State) -> bool:
    return False


def test_a_returned_state_replaces_and_a_mapping_merges() -> None:
    graph = StateGraph("g")
    graph.add_node("merge", lambda state: {"b": 2})
    graph.add_node("replace", lambda state: state.drop("a").set("c", 3))
    graph.sequence("merge", "replace")
    assert dict(graph.execute({"a": 1})) == {"b": 2, "c": 3}


def test_a_state_of_another_run_cannot_change_whose_run_this_is() -> None:
    graph = StateGraph("g")
    graph.add_node("foreign", lambda state: State({"new": 1}, run_id="other"))
    graph.sequence("foreign")
    final = graph.execute({"old": 1}, run_id="mine")
    assert (final.run_id, dict(final)) == ("mine", {"new": 1})


def test_the_run_id_given_wins_over_the_states_and_a_state_brings_its_own() -> None:
    graph = Steps().graph
    state = State({"x": 1})
    assert graph.execute(state).run_id == state.run_id
    assert graph.execute(state, run_id="mine").run_id == "mine"
    assert len(graph.execute({}).run_id) == 36


def test_the_timestamp_is_the_time_of_the_last_node_in_utc() -> None:
    before = datetime.now(UTC)
    final = Steps().graph.execute({})
    assert before - timedelta(seconds=1) <= final.timestamp <= datetime.now(UTC) + timedelta(seconds=1)
    assert final.timestamp.tzinfo is UTC


def test_events_come_in_the_seeds_order_with_the_seeds_keys() -> None:
    steps = Steps(names="ab")
    steps.graph.execute({}, run_id="r")
    assert steps.types() == [
        "graph.start", "node.start", "node.complete", "edge.evaluate", "edge.transition",
        "node.start", "node.complete", "graph.complete",
    ]  # fmt: skip
    data = [dict(event.data) for event in steps.recorder.events]
    assert data[0] == {"entry_point": "a", "exit_points": 1, "run_id": "r"}
    assert {"node": "a", "iteration": 1, "run_id": "r"}.items() <= data[1].items()
    assert {"node": "a", "iteration": 1, "error": False}.items() <= data[2].items()
    assert {"from": "a", "to": "b", "edge_index": 0, "has_predicate": False}.items() <= data[3].items()
    assert {"predicate_name": "", "predicate_result": True}.items() <= data[4].items()
    assert {"exit_point": "b", "iterations": 2, "path_length": 2}.items() <= data[7].items()
    assert {event.source for event in steps.recorder.events} == {"g"}


def test_values_stay_out_of_events_unless_asked_for_and_secrets_always() -> None:
    steps = Steps(names="a")
    steps.graph.execute({"api_key": "sk-CANARY", "x": "seen?"})
    assert "sk-CANARY" not in repr(steps.recorder.events)
    assert "seen?" not in repr(steps.recorder.events)
    told = []
    graph = StateGraph(GraphConfig("g", observer=told.append, snapshots=True))
    graph.add_node("a", lambda state: None)
    graph.sequence("a")
    graph.execute({"api_key": "sk-CANARY", "x": ["seen?", {"token": "sk-CANARY"}]})
    assert "seen?" in repr(told)
    assert "sk-CANARY" not in repr(told)


@pytest.mark.parametrize("depth", [49, 50, 51, 150])
def test_a_snapshot_shows_no_secret_however_deep_it_lies(depth: int) -> None:
    value: Any = {"token": "sk-CANARY"}
    for _ in range(depth):
        value = [value]
    told: list[Any] = []
    graph = StateGraph(GraphConfig("g", observer=told.append, snapshots=True))
    graph.add_node("a", lambda state: None)
    graph.sequence("a")
    graph.execute({"x": value, "y": "seen?"})
    assert "seen?" in repr(told)
    assert "sk-CANARY" not in repr(told)


def test_snapshots_of_what_cannot_be_copied_change_nothing() -> None:
    class Odd(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("no items")

    told: list[Any] = []
    graph = StateGraph(GraphConfig("g", observer=told.append, snapshots=True))
    graph.add_node("a", lambda state: Odd(y=2))
    graph.sequence("a")
    lock = threading.Lock()
    assert graph.execute({"lock": lock, "x": 1})["lock"] is lock
    assert told[1].data["input_snapshot"] == {"lock": "[cannot be copied: TypeError]", "x": 1}
    assert told[2].data["output_snapshot"] == {}


def test_a_snapshot_of_what_cannot_be_stored_leaves_the_error_as_it_is(store: Store) -> None:
    told: list[Any] = []
    with pytest.raises(ExecutionError) as caught:
        run(store, lambda state: {"lock": threading.Lock()}, observer=told.append, snapshots=True)
    assert isinstance(caught.value.__cause__, UnserializableError)
    assert told[2].data["output_snapshot"] == {"lock": "[cannot be copied: TypeError]"}
    assert [row.status for row in store.runs()] == ["failed"]


def test_a_failing_run_ends_with_exactly_one_terminal_event() -> None:
    steps = Steps()
    steps.failing = {"b"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({})
    assert [name for name in steps.types() if name.startswith("graph.")] == ["graph.start", "graph.failed"]


def test_an_observer_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: object) -> None:
        raise RuntimeError("observer down")

    steps = Steps(names="ab")
    final = steps.graph.execute({}, observer=broken)
    assert final["path"] == ["a", "b"]
    assert "observer down" in caplog.text
    assert steps.types()[-1] == "graph.complete"


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: StateGraph(GraphConfig("g", observer="nope")), UnknownObserverError, "nope"),
        (
            lambda: StateGraph(GraphConfig("g", checkpoint=CheckpointConfig(store="nope", interval=1))),
            UnknownStoreError,
            "unknown checkpoint store: 'nope'",
        ),
        (lambda: StateGraph(GraphConfig("g"), store="memory"), ConfigError, "interval"),
        (lambda: StateGraph("g", store=42), ConfigError, "int"),
        (lambda: Steps().graph.execute({}, if_exists="maybe"), ConfigError, "maybe"),
        (lambda: Steps().graph.execute([1]), ConfigError, "list"),
        (lambda: Steps().graph.execute({}, wait="long"), ConfigError, "wait"),
        (lambda: Steps().graph.execute({}, max_runtime=-1), ConfigError, "max_runtime"),
        (lambda: Steps().graph.execute({}, stop=True), ConfigError, "stop"),
        (lambda: Steps().graph.resume("x"), ConfigError, "checkpointing not enabled for this graph"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_an_unknown_store_is_not_looked_up_while_checkpointing_is_off() -> None:
    StateGraph(GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(store="nope")))


def test_a_graph_with_problems_is_refused_before_any_node_runs() -> None:
    graph = StateGraph("g")
    with pytest.raises(GraphError, match="graph has no nodes"):
        graph.execute({})


def test_without_a_store_values_pass_by_reference() -> None:
    graph = StateGraph("g")
    seen = []
    graph.add_node("a", lambda state: seen.append(state["x"]))
    graph.sequence("a")
    value = [1]
    assert graph.execute({"x": value})["x"] is value
    assert seen[0] is value
