"""Values belong to the state: what a node sees and changes, with checkpointing on."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from engine_steps import config, run

from tau import ExecutionError, LimitExceededError, State, StateGraph, UnserializableError
from tau.stores.contract import Store


def test_a_change_in_place_is_a_change_like_any_other(store: Store) -> None:
    def change(state: State) -> None:
        state["rows"][1]["x"].append(3)

    final = run(store, change, lambda state: None, given={"rows": [{}, {"x": [1, 2]}]})
    assert final["rows"] == [{}, {"x": [1, 2, 3]}]
    assert store.load("r")["rows"] == [{}, {"x": [1, 2, 3]}]


def test_a_change_in_place_to_a_value_that_cannot_be_stored_is_refused(store: Store) -> None:
    def change(state: State) -> None:
        state["rows"][0]["f"] = print

    with pytest.raises(ExecutionError) as caught:
        run(store, change, given={"rows": [{"f": None}]})
    error = caught.value.__cause__
    assert isinstance(error, UnserializableError)
    assert (error.key, error.node, error.path) == ("rows", "n0", "state['rows'][0]['f']")
    assert "builtin_function" in str(error)
    assert store.load("r")["rows"] == [{"f": None}]


def test_a_value_that_cannot_be_stored_is_refused_at_the_end_of_the_node_that_set_it(store: Store) -> None:
    ran = []
    with pytest.raises(ExecutionError) as caught:
        run(store, lambda state: {"ok": 1, "bad": {"a": [1, object()]}}, lambda state: ran.append(1))
    error = caught.value.__cause__
    assert isinstance(error, UnserializableError)
    assert (error.key, error.node, error.path, error.type_name) == ("bad", "n0", "state['bad']['a'][1]", "object")
    assert ran == []
    assert "ok" not in store.load("r")


def test_a_value_that_is_too_deep_is_a_limit_not_a_crash(store: Store) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ExecutionError) as caught:
        run(store, lambda state: {"deep": deep})
    assert isinstance(caught.value.__cause__, LimitExceededError)


@pytest.mark.parametrize("key", [1, None, "\ud800", ("a",)])
def test_a_name_that_is_no_text_is_refused(store: Store, key: Any) -> None:
    with pytest.raises(ExecutionError) as caught:
        run(store, lambda state: {key: 1})
    assert isinstance(caught.value.__cause__, UnserializableError)


def test_a_new_name_that_is_set_to_none_is_in_the_state(store: Store) -> None:
    """A state without the name has no value that None could be the same as."""
    final = run(store, lambda state: state.set("new", None).merge({"old": None}), given={"old": 1})
    assert dict(final) == {"old": None, "new": None}
    assert dict(store.load("r")) == {"old": None, "new": None}


def test_what_a_node_kept_of_the_state_cannot_change_what_is_stored(store: Store) -> None:
    kept: list[Any] = []

    def keep(state: State) -> dict[str, Any]:
        value = {"inner": [1]}
        kept.extend([value, state["old"]])
        return {"new": value}

    def later(state: State) -> dict[str, Any]:
        kept[0]["inner"].append("leak")
        kept[1].append("leak")
        return {"seen": (state["new"], state["old"])}

    final = run(store, keep, later, given={"old": [0]})
    assert final["seen"] == ({"inner": [1]}, [0])
    assert store.load("r")["new"] == {"inner": [1]}


def test_changing_the_input_after_the_start_changes_nothing(store: Store) -> None:
    given = {"rows": [1]}

    def mutate(state: State) -> None:
        given["rows"].append(2)

    assert run(store, mutate, lambda state: None, given=given)["rows"] == [1]


def test_a_key_read_twice_in_a_visit_is_the_same_object_and_another_one_in_the_next(store: Store) -> None:
    seen = []

    def look(state: State) -> None:
        assert state["x"] is state["x"]
        assert state.set("y", 1)["x"] is state["x"]
        seen.append(state["x"])

    run(store, look, look, given={"x": [1]})
    assert seen[0] == seen[1]
    assert seen[0] is not seen[1]


def test_each_attempt_starts_with_a_fresh_copy(store: Store) -> None:
    from tau import Retry

    tries = []
    graph = StateGraph(config(store))

    def flaky(state: State) -> None:
        state["x"].append(len(tries))
        tries.append(list(state["x"]))
        if len(tries) < 3:
            raise ValueError("again")

    graph.add_node("flaky", flaky, retry=Retry(attempts=3, delay=0.0))
    graph.sequence("flaky")
    assert graph.execute({"x": []})["x"] == [2]
    assert tries == [[0], [1], [2]]


def test_values_come_back_as_exactly_what_they_were(store: Store) -> None:
    value = {1: "int", "1": "text", (1, 2): {"a"}, None: deque([1], maxlen=3), "nan": float("nan"), "big": 10**100}
    seen: list[Any] = []
    run(store, lambda state: None, lambda state: seen.append(state["v"]), given={"v": value})
    back = seen[0]
    assert list(map(repr, back.items())) == list(map(repr, value.items()))
    assert back[None].maxlen == 3


def test_an_unread_value_is_neither_decoded_nor_written_again(store: Store) -> None:
    big = ["x" * 50] * 5000
    graph = StateGraph(config(store))
    graph.add_node("n", lambda state: {"n": state["n"] + 1}, version="1")
    graph.add_node("end", lambda state: None, version="1")
    graph.add_edge("n", "n", lambda state: state["n"] < 100)
    graph.add_edge("n", "end")
    graph.set_entry_point("n")
    graph.set_exit_point("end")
    graph.execute({"n": 0, "big": big}, run_id="r")
    written = sum(len(record) for _, record in store.read("r"))
    assert written < 100_000
    assert graph.history("r")[50].state["big"] == big


def test_a_growing_list_costs_what_is_added(store: Store) -> None:
    import random

    noise = random.Random(1)
    graph = StateGraph(config(store))

    def add(state: State) -> dict[str, Any]:
        return {"rows": [*state["rows"], noise.randbytes(500)]}

    graph.add_node("add", add, version="1")
    graph.add_node("end", lambda state: None, version="1")
    graph.add_edge("add", "add", lambda state: len(state["rows"]) < 200)
    graph.add_edge("add", "end")
    graph.set_entry_point("add")
    graph.set_exit_point("end")
    final = graph.execute({"rows": []}, run_id="r")
    names = {part.digest for cell in final._data.values() for part in getattr(cell.whole, "parts", ())}
    held = store.blobs("r", names)
    assert len(names) > 100
    assert sum(map(len, held.values())) < 1.2 * 200 * 500
    assert [len(entry.state["rows"]) for entry in graph.history("r")[:-1]] == list(range(1, 201))
    assert store.load("r")["rows"] == final["rows"]


def test_a_list_that_shrinks_or_changes_at_its_beginning_is_stored_right(store: Store) -> None:
    rows = [f"row {number} " + "x" * 100 for number in range(50)]
    edits: list[Any] = [
        lambda value: value[:-10],
        lambda value: [*value, "end"],
        lambda value: ["start", *value],
        lambda value: [*value, *value],
        lambda value: value[5:20],
        lambda value: [*value, ("tuple", 1)],
        lambda value: [*value, "after"],
        lambda value: [],
        lambda value: [*value, *rows],
        lambda value: {str(number): row for number, row in enumerate(value)},
        lambda value: {**value, "more": 1},
    ]
    nodes = [lambda state, edit=edit: {"v": edit(state["v"])} for edit in edits]
    expected, want = rows, []
    for edit in edits:
        expected = edit(expected)
        want.append(expected)
    final = run(store, *nodes, given={"v": rows})
    assert final["v"] == expected
    assert store.load("r")["v"] == expected
    graph = StateGraph(config(store))
    for number, node in enumerate(nodes):
        graph.add_node(f"n{number}", node, version="1")
    graph.sequence(*(f"n{number}" for number in range(len(nodes))))
    assert [entry.state["v"] for entry in graph.history("r")] == want


def test_damage_that_a_node_swallows_still_stops_the_run(tmp_path: Any) -> None:
    import apsw

    from tau import CorruptCheckpointError, open_store

    url = f"sqlite:///{tmp_path}/runs.db"
    failing = {"on"}

    def build() -> StateGraph:
        def careless(state: State) -> dict[str, Any]:
            if failing:
                raise ValueError("first time")
            try:
                return {"out": len(state["big"])}
            except Exception:
                return {"out": -1}

        graph = StateGraph(config(open_store(url)))
        graph.add_node("careless", careless, version="1")
        graph.sequence("careless")
        return graph

    with pytest.raises(ExecutionError):
        build().execute({"big": "x" * 10_000}, run_id="r")
    open_store(url).close()
    failing.clear()
    connection = apsw.Connection(str(tmp_path / "runs.db"))
    connection.execute("update blobs set data = zeroblob(length(data))")
    connection.close()
    with pytest.raises(ExecutionError) as caught:
        build().resume("r")
    assert isinstance(caught.value.__cause__, CorruptCheckpointError)
    assert "blob" in str(caught.value.__cause__)


def test_a_state_changed_in_place_outside_of_a_run_is_saved_and_run_as_it_is_now(store: Store) -> None:
    State({"rows": [1]}, run_id="hand").checkpoint(store)
    loaded = store.load("hand")
    loaded["rows"].append(2)
    loaded.checkpoint(store)
    assert store.load("hand")["rows"] == [1, 2]
    loaded["rows"].append(3)
    assert run(store, lambda state: None, given=loaded)["rows"] == [1, 2, 3]


def test_a_state_of_another_run_changed_in_place_is_stored_as_it_was_returned(store: Store) -> None:
    State({"rows": [1]}, run_id="other").checkpoint(store)

    def borrow(state: State) -> State:
        other = store.load("other")
        other["rows"].append(2)
        return other

    assert run(store, borrow, lambda state: None)["rows"] == [1, 2]
    assert store.load("other")["rows"] == [1]


def test_a_state_is_saved_in_what_a_graph_takes_for_a_store(tmp_path: Any) -> None:
    from tau import open_store

    url = f"sqlite:///{tmp_path}/runs.db"
    State({"x": 1}, run_id="hand").checkpoint(url)
    assert open_store(url).load("hand")["x"] == 1
