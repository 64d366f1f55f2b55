"""Input that cannot be used: a typed error with the remedy, and nothing that was committed is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from engine_steps import Steps, config, elsewhere

from tau import (
    ConfigError,
    ExecutionError,
    GraphConfig,
    RunInterruptedError,
    State,
    StateGraph,
    Stop,
    TauError,
    UnknownObserverError,
    UnknownStoreError,
    UnserializableError,
    open_store,
    register_observer,
    register_store,
)
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

# Configuration, in Python and in JSON.


def from_json(**values: Any) -> StateGraph:
    return StateGraph(GraphConfig.from_json(json.dumps({"name": "g", "observer": "noop", **values})))


@pytest.mark.parametrize(
    "make",
    [
        lambda: StateGraph("g", store="lost"),
        lambda: open_store("lost"),
        lambda: from_json(checkpoint={"store": "lost", "interval": 1}),
        lambda: State({}).checkpoint("lost"),
    ],
)
def test_an_unknown_store_is_named_with_those_there_are_and_how_to_add_one(make: Any) -> None:
    with pytest.raises(UnknownStoreError) as caught:
        make()
    for part in (
        "unknown checkpoint store: 'lost'",
        "file, memory, postgres, redis, s3, sqlite",
        "sqlite:///",
        "register_store(",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: StateGraph("g", observer="lost"),
        lambda: from_json(observer="lost"),
        lambda: from_json(observer=["noop", "lost"]),
        lambda: Steps().graph.execute({}, observer="lost"),
        lambda: Steps(MemoryStore()).graph.resume("r", observer="lost"),
    ],
)
def test_an_unknown_observer_is_named_with_those_there_are_and_how_to_add_one(make: Any) -> None:
    with pytest.raises(UnknownObserverError) as caught:
        make()
    for part in ("unknown observer: lost", "noop, slog", "register_observer("):
        assert part in str(caught.value)


def test_names_registered_later_are_known_from_then_on() -> None:
    register_observer("bad-input-observer", lambda event: None)
    register_store("bad-input-store", MemoryStore())
    graph = from_json(observer="bad-input-observer", checkpoint={"store": "bad-input-store", "interval": 1})
    graph.add_node("a", lambda state: None)
    graph.sequence("a")
    assert graph.execute({}, run_id="r").run_id == "r"


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"checkpoint": {"interval": "1"}}, "checkpoint.interval: expected an integer of 0 or more, found str: '1'"),
        ({"checkpoint": {"interval": 1.5}}, "checkpoint.interval: "),
        ({"checkpoint": {"preserve": "yes"}}, "checkpoint.preserve: expected true or false"),
        ({"checkpoint": {"lease": -1}}, "checkpoint.lease: expected a finite number above 0"),
        ({"checkpoint": {"store": None, "interval": 1}}, "checkpoint.store: "),
        ({"checkpoint": {"stor": "memory"}}, "checkpoint.stor: unknown key (did you mean 'checkpoint.store'?)"),
        ({"checkpoint": "memory"}, "checkpoint: expected an object"),
        ({"max_iterations": 0}, "max_iterations: expected an integer of 1 or more, found int: 0"),
        ({"observer": 7}, "observer: expected the name of an observer"),
        ({"name": ""}, "name of the graph cannot be empty"),
        ({"checkpoint": {"store": "sqlite:runs.db", "interval": 1}}, "three slashes"),
        ({"checkpoint": {"store": "s3://u:secret@h/0", "interval": 1}}, "an S3 URL reads s3://bucket/prefix"),
        ({"checkpoint": {"store": "ftp://h/x", "interval": 1}}, "is not a store URL; the forms are"),
    ],
)
def test_a_bad_configuration_in_json_is_refused_by_the_path_of_its_key(values: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_json(**values)
    assert path in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tags": 7}, "tags: expected a string or a list of strings"),
        ({"tags": [7]}, "a tag must be text, found int: 7"),
        ({"tags": ["\ud800"]}, "a tag cannot contain NUL or lone surrogates"),
        ({"tags": {"paper": 1}}, "tags: expected"),
        ({"resources": 7}, "resources must be a Mapping, found int"),
        ({"observer": 7}, "observer: expected a callable"),
        ({"wait": float("nan")}, "wait must be 0 or more seconds"),
        ({"max_runtime": "1h"}, "max_runtime must be 0 or more seconds"),
        ({"if_exists": "overwrite"}, "if_exists must be 'error' or 'resume'"),
        ({"run_id": 7}, "a run id must be text"),
    ],
)
def test_a_bad_argument_is_refused_before_there_is_a_run(store: Store, options: dict[str, Any], text: str) -> None:
    steps = Steps(store)
    with pytest.raises(ConfigError) as caught:
        steps.graph.execute({}, **options)
    assert text in str(caught.value)
    assert (steps.ran, steps.types(), store.list()) == ([], [], [])


@pytest.mark.parametrize("run_id", ["", "a\0b", "\ud800", "x" * 1025, 7, None])
@pytest.mark.parametrize("verb", ["resume", "plan", "history", "cancel"])
def test_a_run_id_that_no_run_can_have_is_refused_by_every_verb(store: Store, verb: str, run_id: Any) -> None:
    with pytest.raises(ConfigError, match="run id"):
        getattr(Steps(store).graph, verb)(run_id)


@pytest.mark.parametrize("run_id", ["", "a\0b", "\ud800", "x" * 1025])
def test_a_store_asked_for_a_run_that_cannot_be_says_so_and_changes_nothing(store: Store, run_id: str) -> None:
    Steps(store).graph.execute({}, run_id="r")
    with pytest.raises(ConfigError, match="run id"):
        store.load(run_id)
    with pytest.raises(ConfigError, match="run id"):
        State({}, run_id=run_id)
    assert store.list() == ["r"]


@pytest.mark.parametrize("data", [7, "text", [1], b"x"])
def test_a_state_is_made_from_a_mapping_only(data: Any) -> None:
    with pytest.raises(ConfigError, match=f"not from {type(data).__name__}"):
        State(data)


# Nodes and predicates that return or raise nonsense.


class Unreadable(Mapping[str, Any]):
    """Says that it is a mapping and fails as one."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("torn")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("torn")

    def __len__(self) -> int:
        return 1


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raiser(error: BaseException) -> Any:
    def broken(state: State) -> None:
        raise error

    return broken


def from_an_odd_file(state: State) -> None:
    raise ValueError("somewhere")


from_an_odd_file.__code__ = from_an_odd_file.__code__.replace(co_filename="caf\udce9.py")


def line(store: Store, middle: Any, predicate: Any = None, observer: Any = "noop") -> StateGraph:
    graph = StateGraph(config(store, observer=observer))
    graph.add_node("first", lambda state: {"first": [1]}, version="1")
    graph.add_node("middle", middle, version="1")
    graph.add_node("last", lambda state: {"last": True}, version="1")
    graph.add_edge("first", "middle")
    graph.add_edge("middle", "last", predicate)
    graph.set_entry_point("first")
    graph.set_exit_point("last")
    return graph


NONSENSE: dict[str, tuple[Any, str]] = {
    "a number": (lambda state: 7, "node 'middle' returned int; return a mapping of changes, a State, or None"),
    "a text": (lambda state: "x", "returned str; return a mapping"),
    "pairs": (lambda state: [("a", 1)], "returned list; return a mapping"),
    "a generator": (lambda state: (n for n in ()), "returned generator; return a mapping"),
    "a class": (lambda state: dict, "returned type; return a mapping"),
    "NotImplemented": (lambda state: NotImplemented, "returned NotImplementedType; return a mapping"),
    "a mapping that cannot be read": (lambda state: Unreadable(), "torn"),
    "a key that is no text": (
        lambda state: {1: 1},
        "set the key 1, which cannot be stored: names in the state must be text",
    ),
    "a key that no text can hold": (lambda state: {"\ud800": 1}, "it has a lone surrogate"),
    "a function as a value": (lambda state: {"f": print}, "set state['f'], of type builtin_function_or_method"),
    "an error without a text": (raiser(MemoryError()), "node execution failed: MemoryError"),
    "an error that cannot be shown": (raiser(Mute()), "<Mute that cannot be shown: RuntimeError>"),
    "an error with a text that cannot be stored": (raiser(ValueError("odd \ud800")), "odd \\ud800"),
    "an error from a file with an odd name": (from_an_odd_file, "somewhere"),
    "a group of errors": (raiser(ExceptionGroup("\ud800", [Mute()])), "\\ud800 (1 sub-exception)"),
    "StopIteration": (raiser(StopIteration("early")), "early"),
    "an error of ours": (raiser(TauError("imitated")), "imitated"),
    "a very long text": (raiser(ValueError("x" * 10**6)), "xxx"),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_what_a_node_does_wrong_is_named_and_the_run_goes_on_once_it_is_mended(store: Store, kind: str) -> None:
    node, text = NONSENSE[kind]
    with pytest.raises(ExecutionError) as caught:
        line(store, node, observer=lambda event: None).execute({}, run_id="r")
    error = caught.value
    assert text in str(error)
    assert (error.node, error.run_id, dict(error.state)) == ("middle", "r", {"first": [1]})
    with elsewhere(store) as fresh:
        assert [(row.status, row.node) for row in fresh.runs()] == [("failed", "first")]
        final = line(fresh, lambda state: {"middle": state["first"]}).resume("r")
        assert dict(final) == {"first": [1], "middle": [1], "last": True}


@pytest.mark.parametrize("error", [ValueError("odd \ud800"), Mute(), ValueError()], ids=["odd", "mute", "empty"])
def test_what_a_predicate_does_wrong_is_named_and_the_finished_node_is_kept(store: Store, error: Exception) -> None:
    ran = []
    with pytest.raises(ExecutionError, match="the predicate of edge middle -> last") as caught:
        line(store, lambda state: ran.append(1), raiser(error)).execute({}, run_id="r")
    assert caught.value.__cause__ is error
    with elsewhere(store) as fresh:
        assert fresh.load("r").checkpoint_node == "middle"
        assert line(fresh, lambda state: ran.append(2)).resume("r")["last"] is True
        assert ran == [1]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("\ud800"), SystemExit(3), GeneratorExit("odd"), BaseExceptionGroup("g", [SystemExit()])]
)
def test_what_is_no_failure_passes_through_and_the_run_goes_on_later(store: Store, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        line(store, raiser(error), observer=lambda event: None).execute({}, run_id="r")
    assert caught.value is error
    with elsewhere(store) as fresh:
        assert [row.status for row in fresh.runs()] == ["interrupted"]
        assert line(fresh, lambda state: None).resume("r")["last"] is True


@pytest.mark.parametrize(("reason", "told"), [("", "stop requested"), ("\ud800", "\\ud800"), (7, "7")])
def test_an_odd_reason_to_stop_stops_all_the_same(store: Store, reason: Any, told: str) -> None:
    stop = Stop()

    def middle(state: State) -> None:
        stop.set(reason)

    with pytest.raises(RunInterruptedError) as caught:
        line(store, middle).execute({}, run_id="r", stop=stop)
    assert (caught.value.reason, caught.value.node) == (told, "last")
    with elsewhere(store) as fresh:
        assert line(fresh, lambda state: pytest.fail("ran again")).resume("r")["last"] is True


def test_every_refusal_is_one_of_ours(store: Store) -> None:
    graph = Steps(store).graph
    refused: list[Any] = [
        lambda: graph.execute({"x": object()}),
        lambda: graph.execute({1: 2}),
        lambda: graph.execute([1]),
        lambda: graph.resume("unknown"),
        lambda: graph.resume("r", on_change="maybe"),
        lambda: graph.add_node("late", lambda state: None),
        lambda: graph.add_edge("a", "c"),
        lambda: StateGraph("").execute({}),
        lambda: StateGraph("g").execute({}),
        lambda: StateGraph("g", store={}),
    ]
    for call in refused:
        with pytest.raises(TauError):
            call()
    assert store.list() == []
    with pytest.raises(UnserializableError, match=r"state\['x'\]"):
        refused[0]()
