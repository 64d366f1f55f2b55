"""What a chain has gathered costs what each step added, and is the same as if each step had stored all of it."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from own_stores import InBytes
from tau import (
    ChainConfig,
    CorruptCheckpointError,
    ExecutionError,
    Retry,
    State,
    StateGraph,
    UnserializableError,
    branches_node,
    current,
    open_store,
    process_chain,
    process_parallel,
)
from tau.log.encoding import seal, unseal
from tau.log.records import Admitted, Item, Manifest, Progress, Scope
from tau.log.replay import Replay
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper
from tau.values.stored import Grown, Inline, Part

_rng = random.Random(3)
LINES = [_rng.randbytes(500).hex() for _ in range(60)]

GROW: dict[str, tuple[Any, Callable[[int, Any], Any]]] = {
    "list": ([], lambda item, state: [*state, LINES[item]]),
    "text": ("", lambda item, state: state + LINES[item]),
    "bytes": (b"", lambda item, state: state + LINES[item].encode()),
    "dict": ({}, lambda item, state: {**state, str(item): LINES[item]}),
    "in place": ([], lambda item, state: state.append(LINES[item]) or state),
    "state": (State({"rows": [], "n": 0}), lambda item, state: state.merge(added(item, state))),
}


def added(item: int, state: State) -> dict[str, Any]:
    return {"rows": [*state["rows"], LINES[item]], "n": item}


class Counted(StoreWrapper):
    """Counts the bytes that are stored."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.stored = 0

    def commit(self, batches: Any) -> Any:
        for batch in batches:
            self.stored += sum(map(len, batch.records)) + sum(len(data) for _, data in batch.blobs)
        return super().commit(batches)


def graph_of(store: Any, node: Any, **options: Any) -> StateGraph:
    graph = StateGraph("g", store=store)
    graph.add_node("node", node, version="1", **options)
    graph.sequence("node")
    return graph


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("kind", GROW)
def test_each_step_costs_what_it_added(kind: str, how: str) -> None:
    """60 steps that add a KB each: 60 KB, and no more than as much again where small parts are put together."""
    initial, grow = GROW[kind]
    store = Counted(MemoryStore())

    async def later(item: int, state: Any) -> Any:
        await asyncio.sleep(0)
        return grow(item, state)

    def node(state: State) -> Any:
        return {"size": len(process_chain(range(60), initial, grow, name="c").final)}

    async def node_async(state: State) -> Any:
        return {"size": len((await process_chain(range(60), initial, later, name="c")).final)}

    graph_of(store, node if how == "sync" else node_async).execute({}, run_id="r")
    assert 60_000 < store.stored < 120_000


def test_a_state_that_did_not_change_costs_nothing() -> None:
    store = Counted(MemoryStore())

    def node(state: State) -> Any:
        out = process_chain(range(50), list(LINES), lambda item, state: state, name="c").final
        return {"all": out == LINES}

    assert graph_of(store, node).execute({}, run_id="r")["all"]
    assert store.stored < 60_000 + 50 * 300


def test_what_the_state_of_the_graph_holds_is_not_stored_again() -> None:
    store = Counted(MemoryStore())

    def node(state: State) -> Any:
        return process_chain(range(3), state, lambda item, state: state.set("n", item), name="c").final

    final = graph_of(store, node).execute({"large": LINES, "n": -1}, run_id="r")
    assert (final["n"], final["large"]) == (2, LINES)
    assert 30_000 < store.stored < 45_000  # compressed


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from("ab"), st.integers(0, 59)),
        st.tuples(st.just("in place"), st.sampled_from("ab"), st.integers(0, 59)),
        st.tuples(
            st.just("set"), st.sampled_from("abcd"), st.sampled_from([None, 1, (1, {"x"}), LINES[0], [LINES[1]]])
        ),
        st.tuples(st.just("drop"), st.sampled_from("abcd"), st.just(0)),
        st.tuples(st.just("anew"), st.sampled_from("ab"), st.integers(0, 59)),
        st.tuples(st.just("same"), st.just(""), st.just(0)),
        st.tuples(st.just("empty"), st.just(""), st.just(0)),
        st.tuples(st.just("plain"), st.just(""), st.integers(0, 3)),
    ),
    min_size=1,
    max_size=12,
)


def changed(change: tuple[str, str, Any], state: Any) -> Any:
    what, key, value = change
    if not isinstance(state, State):
        return State({"a": [repr(state)]}) if what != "plain" else [value, state]
    rows = state.get(key)
    if what in ("append", "in place") and not isinstance(rows, list):
        return state.set(key, [LINES[value]] * 2)
    if what == "append":
        return state.set(key, [*rows, LINES[value]])
    if what == "in place":
        rows.append(LINES[value])
        return state
    if what == "plain":
        return {"was": dict(state), "n": value}
    return {
        "set": lambda: state.set(key, value),
        "drop": lambda: state.drop(key),
        "anew": lambda: State({key: [LINES[value]] * 2, "c": state.get("c")}),
        "same": lambda: state,
        "empty": lambda: State({}),
    }[what]()


def plain(value: Any) -> Any:
    return dict(value) if isinstance(value, State) else value


@settings(max_examples=60, deadline=None)
@given(CHANGES, st.data())
def test_however_it_is_interrupted_a_chain_over_a_state_comes_to_the_same(changes: list[Any], data: Any) -> None:
    """Whatever the steps do with the state, and wherever the chain fails, its states are those that a chain without a
    store goes through, and no step is called again."""
    initial = {"a": [LINES[7]] * 2, "c": "kept"}
    expected: list[Any] = [initial]
    for change in changes:  # each from a copy, as in a chain that hands out its states
        expected.append(plain(changed(change, _copy(expected[-1]))))
    breaks = data.draw(st.sets(st.integers(0, len(changes) - 1), max_size=3))
    captures = data.draw(st.booleans())
    fresh = data.draw(st.booleans())
    calls: list[int] = []

    def step(item: int, state: Any) -> Any:
        if item in breaks:
            breaks.remove(item)
            raise ValueError("broke")
        calls.append(item)
        return changed(changes[item], state)

    def node(state: State) -> Any:
        config = ChainConfig(capture_intermediate=captures)
        first = State({**state, "a": [LINES[7]] * 2}) if fresh else state
        result = process_chain(range(len(changes)), first, step, config, name="c")
        states = list(map(plain, result.intermediate))
        assert states == (expected if captures else [])
        return {"final": plain(result.final)}

    graph = graph_of(MemoryStore(), node)
    for number in range(4):
        try:
            final = graph.resume("r") if number else graph.execute(initial, run_id="r")
            break
        except ExecutionError as error:
            assert "broke" in str(error)  # noqa: PT017
    assert final["final"] == expected[-1]
    assert calls == list(range(len(changes)))


def _copy(value: Any) -> Any:
    return State(deepcopy(value)) if isinstance(value, dict) and "was" not in value else deepcopy(value)


@pytest.mark.parametrize("kind", GROW)
def test_a_chain_that_failed_goes_on_in_every_place(store: Store, kind: str) -> None:
    """In a retry, in an item of a map, in branches and behind a resume: each step is called once."""
    initial, grow = GROW[kind]
    calls: list[Any] = []
    broken = {5, 9}

    def step(item: int, state: Any) -> Any:
        here = (current().node, item)
        if item in broken and here not in calls:
            broken.discard(item)
            raise ValueError("broke")
        calls.append(here)
        return grow(item, state)

    def branch(state: State) -> Any:
        found = process_parallel(
            [0], lambda _: plain(process_chain(range(12), initial, step, name="c").final), name="m"
        )
        return {current().node[-1]: found.results[0]}

    graph = StateGraph("g", store=store)
    graph.add_node("node", branches_node({"a": branch, "b": branch}), version="1", retry=Retry(attempts=2, delay=0.0))
    graph.sequence("node")
    try:
        final = graph.execute({}, run_id="r")
    except ExecutionError:
        final = graph.resume("r")
    expected = initial
    for item in range(12):
        expected = grow(item, _copied(expected))
    assert final["a"] == final["b"] == plain(expected)
    assert sorted(calls) == [(f"node/{name}", item) for name in "ab" for item in range(12)]


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


@pytest.mark.parametrize("kind", ["list", "text", "state"])
def test_a_store_of_ones_own_keeps_what_a_chain_has_gathered(kind: str) -> None:
    """What a state carries has every part of it."""
    initial, grow = GROW[kind]
    store = InBytes()
    calls: list[int] = []

    def step(item: int, state: Any) -> Any:
        calls.append(item)
        if calls == [*range(10)]:
            raise ValueError("broke")
        return grow(item, state)

    def node(state: State) -> Any:
        return {"out": plain(process_chain(range(12), initial, step, name="c").final)}

    with pytest.raises(ExecutionError, match="broke"):
        graph_of(store, node).execute({}, run_id="r")
    expected = initial
    for item in range(12):
        expected = grow(item, expected)
    assert graph_of(store, node).resume("r")["out"] == plain(expected)
    assert calls == [*range(10), 9, 10, 11]


class Gone(StoreWrapper):
    """A store that has lost blobs."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.lost = False

    def blobs(self, run_id: str, digests: Any) -> Any:
        found = super().blobs(run_id, digests)
        return {} if self.lost else found


@pytest.mark.parametrize("kind", ["list", "state"])
def test_a_lost_part_stops_the_run_and_redo_does_it_anew(kind: str) -> None:
    initial, grow = GROW[kind]
    store, calls = Gone(MemoryStore()), list[int]()

    def step(item: int, state: Any) -> Any:
        calls.append(item)
        if len(calls) == 6:
            raise ValueError("broke")
        return grow(item, state)

    def node(state: State) -> Any:
        return {"out": plain(process_chain(range(8), initial, step, name="c").final)}

    with pytest.raises(ExecutionError, match="broke"):
        graph_of(store, node).execute({}, run_id="r")
    store.lost = True
    with pytest.raises((ExecutionError, CorruptCheckpointError), match=r"missing.*redo"):
        graph_of(store, node).resume("r")
    store.lost = False
    calls[:] = [-1] * 10
    expected = initial
    for item in range(8):
        expected = grow(item, expected)
    assert graph_of(store, node).resume("r", on_change="redo")["out"] == plain(expected)
    assert calls[10:] == list(range(8))


def test_a_value_of_a_state_that_cannot_be_stored_is_named() -> None:
    def step(item: int, state: State) -> State:
        return state.set("bad", lambda: None)

    def node(state: State) -> Any:
        return process_chain(range(2), state, step, name="c").final

    with pytest.raises(ExecutionError, match=r"state\['bad'\].*function") as caught:
        graph_of(MemoryStore(), node).execute({})
    cause = caught.value.__cause__
    assert cause is not None
    assert isinstance(cause.__cause__, UnserializableError)


def test_no_encodings_of_earlier_states_are_kept_in_memory(tmp_path: Path) -> None:
    """100 steps of 40 KB each: the states together have 200 MB."""
    line = _rng.randbytes(20_000).hex()

    def node(state: State) -> Any:
        first = tracemalloc.get_traced_memory()[0]
        made = process_chain(range(100), state, lambda item, state: state.set("rows", [*state["rows"], line]), name="c")
        assert len(made.final["rows"]) == 100
        return {"grew": tracemalloc.get_traced_memory()[0] - first}

    with open_store(f"sqlite:///{tmp_path}/runs.db") as store:
        tracemalloc.start()
        try:
            assert graph_of(store, node).execute({"rows": []})["grew"] < 30_000_000
        finally:
            tracemalloc.stop()


def replay_of(*records: Item) -> Replay:
    replay = Replay("r", lambda parts: {})
    first = Admitted(position=1, manifest=Manifest(Progress(graph="g", next="node"), {}))
    for position, record in enumerate((first, *records), 1):
        record.position = position
        replay.add(position, seal("r", record))
    return replay


SCOPE: Scope = (("node", 1, "c"),)


def test_a_step_that_builds_on_none_is_damage() -> None:
    grown = Grown(b"\x91", 1, Part(b"x" * 20, 5))
    with pytest.raises(CorruptCheckpointError, match="builds on one that is not there"):
        replay_of(Item(scope=SCOPE, key="item 2", after="item 1", value=grown))


def test_steps_that_build_on_each_other_are_damage_and_no_endless_loop() -> None:
    grown = Grown(b"\x91", 1, Part(b"x" * 20, 5))
    one, two = "item 1", "item 2"
    with pytest.raises(CorruptCheckpointError, match="grown from one that is not there"):
        replay_of(
            Item(scope=SCOPE, key=one, changed={"a": Inline(b"\x01")}),
            Item(scope=SCOPE, key=two, after=one, changed={"a": Inline(b"\x01")}),
            Item(scope=SCOPE, key=one, after=two, removed=("b",)),
            Item(scope=SCOPE, key=two, after=one, changed={"z": grown}),
        )


def test_a_step_sealed_anew_behind_an_answer_keeps_its_format() -> None:
    record = Item(position=1, scope=SCOPE, key="item 2", after="item 1")
    data = seal("r", record)
    assert data[3] == 5
    assert seal("r", unseal("r", 1, data)) == data


@pytest.mark.parametrize("kind", ["list", "state", "number"])
def test_a_chain_of_more_steps_than_lie_in_the_journal_as_they_are(kind: str) -> None:
    """What is packed there to take less memory is found again, in a retry and in a resume."""
    calls: list[int] = []

    def step(item: int, state: Any) -> Any:
        if item == 1400 and calls.count(-1) < 3:
            calls.append(-1)
            raise ValueError("broke")
        calls.append(item)
        if kind == "number":
            return state + 1
        return [*state, item] if kind == "list" else state.merge({"rows": [*state["rows"], item], "n": item})

    def node(state: State) -> Any:
        initial = {"list": [], "number": 0, "state": State({"rows": [], "n": 0, "still": "s" * 2000})}[kind]
        return {"out": plain(process_chain(range(1500), initial, step, name="c").final)}

    graph = graph_of(MemoryStore(), node, retry=Retry(attempts=2, delay=0.0))
    with pytest.raises(ExecutionError, match="broke"):
        graph.execute({}, run_id="r")
    out = graph.resume("r")["out"]
    rows = list(range(1500))
    expected = {"list": rows, "number": 1500, "state": {"rows": rows, "n": 1499, "still": "s" * 2000}}
    assert out == expected[kind]
    assert calls == [*range(1400), -1, -1, -1, *range(1400, 1500)]
