"""Every kind of value through every store by a real run: exact wherever it is read, or refused before it is written.

What nodes read is looked at value by value. Where a store holds the bytes that a value is encoded to, reading gives
that value (`tests/values`), so that the rest is told by the bytes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config, elsewhere

from exactness import HASHABLE, VALUES, same
from refusals import REFUSED
from tau import ExecutionError, State, StateGraph, UnserializableError
from tau.observers import Recorder
from tau.state import raw
from tau.stores.contract import Store
from tau.values import encode
from tau.values.stored import INLINE

HERE = ["memory", "sqlite", "file"]
SERVERS = ["postgres", "redis", "s3"]
PADDING = "x" * 2 * INLINE
FORMS = {
    "alone": lambda value: value,
    "deep inside": lambda value: {"k": [1, (value, {2: value})], "": value},
    "in a blob": lambda value: [PADDING, value],
}
TABLE: dict[str, Any] = {
    **{f"{number} {form}": make(value) for form, make in FORMS.items() for number, value in enumerate(VALUES)},
    **{f"{number} as a key": {"first": 1, value: [value]} for number, value in enumerate(HASHABLE)},
    **{f"{number} in a set": {value, "other"} for number, value in enumerate(HASHABLE)},
}


def wrong(found: Mapping[str, Any]) -> list[str]:
    """The names under which there is something else than the table has."""
    assert set(found) >= set(TABLE)
    return [f"{name}: {found[name]!r:.80}" for name, value in TABLE.items() if not same(found[name], value)]


@cache
def encoded() -> dict[str, bytes]:
    return {name: encode(value) for name, value in TABLE.items()}


def other_bytes(state: State) -> list[str]:
    """The names under which a state holds other bytes than the values of the table are encoded to."""
    cells = raw(state)
    assert set(cells) >= set(TABLE)
    return [name for name, data in encoded().items() if cells[name].data() != data]


def pipeline(store: Store, seen: list[Any], *, broken: bool = False, observer: Any = "noop") -> StateGraph:
    """``set`` sets the whole table, ``check`` and ``again`` read all of it."""
    graph = StateGraph(config(store, observer=observer))

    def check(state: State) -> None:
        seen.append(wrong(state))

    def again(state: State) -> None:
        if broken:
            raise ValueError("not yet")
        seen.append(wrong(state))

    graph.add_node("set", lambda state: TABLE, version="1")
    graph.add_node("check", check, version="1")
    graph.add_node("again", again, version="1")
    graph.sequence("set", "check", "again")
    return graph


def test_there_are_enough_values_and_kinds() -> None:
    assert len(VALUES) >= 100
    assert len({type(value) for value in VALUES}) >= 40


@pytest.mark.parametrize(
    "store", [*HERE, *(pytest.param(one, marks=pytest.mark.deep) for one in SERVERS)], indirect=True
)
def test_every_value_is_exact_in_the_next_node_after_resume_and_in_history_and_reading_is_no_change(
    store: Store,
) -> None:
    seen: list[Any] = []
    recorder = Recorder()
    with pytest.raises(ExecutionError, match="not yet"):
        pipeline(store, seen, broken=True, observer=recorder).execute({}, run_id="r")
    with elsewhere(store) as fresh:
        final = pipeline(fresh, seen, observer=recorder).resume("r")
        assert seen == [[], []]
        assert other_bytes(final) == []
        assert other_bytes(fresh.load("r")) == []
        history = pipeline(fresh, seen).history("r")
        told = [(entry.node, other_bytes(entry.state)) for entry in history]
        assert told == [("set", []), ("check", []), ("again", [])]
    saved = {event.data["node"]: event.data["changed"] for event in recorder.events if event.type == "checkpoint.save"}
    assert saved == {"set": sorted(TABLE), "check": [], "again": []}


@pytest.mark.parametrize("store", [*HERE, *SERVERS], indirect=True)
def test_every_value_is_exact_as_the_input_of_a_run(store: Store) -> None:
    seen: list[Any] = []
    graph = StateGraph(config(store))
    graph.add_node("check", lambda state: seen.append(wrong(state)), version="1")
    graph.sequence("check")
    graph.execute(TABLE, run_id="r")
    with elsewhere(store) as fresh:
        assert seen == [[]]
        assert other_bytes(fresh.load("r")) == []


def light() -> list[Any]:
    """Every kind of value: all that are quick to read again, and one of each type of tables."""
    tables = {type(value): value for value in VALUES if type(value).__module__.partition(".")[0] in SLOW}
    return [value for value in VALUES if type(value) not in tables] + list(tables.values())


SLOW = ("pandas", "xarray", "polars", "pyarrow")


def test_a_list_and_a_text_that_grow_over_the_limits_of_storing_stay_exact(store: Store) -> None:
    text = "\N{SNOWMAN}" * 40
    values = light()

    def build(upto: int) -> StateGraph:
        def grow(state: State) -> dict[str, Any]:
            n = state["n"]
            if n == upto:
                raise ValueError("not yet")
            return {"n": n + 1, "rows": [*state["rows"], values[n]], "text": state["text"] + text, n_key(n): values[n]}

        graph = StateGraph(config(store))
        graph.add_node("grow", grow, version="1")
        graph.add_node("end", lambda state: None, version="1")
        graph.add_edge("grow", "grow", lambda state: state["n"] < len(values))
        graph.add_edge("grow", "end")
        graph.set_entry_point("grow")
        graph.set_exit_point("end")
        return graph

    with pytest.raises(ExecutionError):
        build(50).execute({"n": 0, "rows": [], "text": ""}, run_id="r")
    with pytest.raises(ExecutionError):
        build(100).resume("r")
    final = build(-1).resume("r")
    assert same(final["rows"], values)
    assert final["text"] == text * len(values)
    for entry in build(-1).history("r")[9:-1:10]:
        n = entry.state["n"]
        assert same(entry.state["rows"], values[:n])
        assert entry.state["text"] == text * n
        assert same(entry.state[n_key(n - 1)], values[n - 1])


def n_key(n: int) -> str:
    return f"value {n}"


IN_ANOTHER_PROCESS = """
import sys
from test_type_table import other_bytes, pipeline
from tau import open_store
for url in sys.argv[1:]:
    seen = []
    store = open_store(url)
    final = pipeline(store, seen).resume("r")
    print(seen, other_bytes(final), [other_bytes(entry.state) for entry in pipeline(store, seen).history("r")])
"""


def test_every_value_is_exact_in_another_process(tmp_path: Path) -> None:
    from tau import open_store

    urls = [f"sqlite:///{tmp_path}/runs.db", f"file://{tmp_path}/runs"]
    for url in urls:
        with open_store(url) as store, pytest.raises(ExecutionError):
            pipeline(store, [], broken=True).execute({}, run_id="r")
    child = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, *urls],
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.stdout, child.stderr) == ("[[]] [] [[], [], []]\n" * 2, "")


def setter(make: Any, ran: list[str], store: Store) -> StateGraph:
    graph = StateGraph(config(store))
    graph.add_node("first", lambda state: {"kept": [1]}, version="1")
    graph.add_node("set", make, version="1")
    graph.add_node("after", lambda state: ran.append("after"), version="1")
    graph.sequence("first", "set", "after")
    return graph


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=lambda value: type(value).__name__)
def test_what_cannot_be_stored_is_refused_and_nothing_of_that_node_is_written(
    store: Store, value: Any, reason: str
) -> None:
    def in_place(state: State) -> None:
        state["kept"].append(value)

    for number, (make, path) in enumerate(
        [
            (lambda state: {"good": 1, "bad": value}, "state['bad']"),
            (lambda state: state.set("good", 1).set("bad", {"a": [0, value]}), "state['bad']['a'][1]"),
            (in_place, "state['kept'][1]"),
        ]
    ):
        run_id, ran = f"r{number}", []
        with pytest.raises(ExecutionError) as caught:
            setter(make, ran, store).execute({}, run_id=run_id)
        refusal = caught.value.__cause__
        assert isinstance(refusal, UnserializableError)
        assert refusal.node == "set"
        assert refusal.type_name.endswith(type(value).__name__)
        assert refusal.path.startswith(path)
        assert reason in str(refusal)
        assert dict(store.load(run_id)) == {"kept": [1]}
        assert setter(lambda state: {"good": 2}, ran, store).resume(run_id)["good"] == 2
        assert ran == ["after"]


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=lambda value: type(value).__name__)
def test_what_cannot_be_stored_is_refused_as_input_before_there_is_a_run(store: Store, value: Any, reason: str) -> None:
    given = {"good": 1, "bad": [value]}
    for start in (
        lambda: setter(lambda state: None, [], store).execute(given, run_id="r"),
        lambda: store.save(State(given, run_id="r")),
        lambda: State(given, run_id="r").checkpoint(store),
        lambda: State(given, run_id="r").to_bytes(),
    ):
        with pytest.raises(UnserializableError, match=r"state\['bad'\]\[0\]") as caught:
            start()
        assert reason in str(caught.value)
        assert caught.value.node is None
    assert store.summary("r") is None
    assert store.list() == []
