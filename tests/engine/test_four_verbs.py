"""A store of a user's own, with save, load, delete and list: what works through it, and what it says plainly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from engine_steps import Steps, config

from exactness import VALUES, same
from own_stores import Failing, Forgetful, InADict, InFiles
from tau import (
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
    ExecutionError,
    RunExistsError,
    RunOwnedError,
    State,
    StateGraph,
    StoreError,
    TauError,
    UnserializableError,
    UnsupportedFormatError,
    open_store,
    register_store,
)
from tau.stores.registry import _registered


@pytest.fixture(autouse=True)
def names_as_before() -> Iterator[None]:
    before = dict(_registered)
    yield
    _registered.clear()
    _registered.update(before)


@pytest.fixture(params=["dict", "files"])
def mine(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return InADict() if request.param == "dict" else InFiles(tmp_path / "mine")


@pytest.fixture(params=["object", "name"])
def given(request: pytest.FixtureRequest, mine: Any) -> Any:
    """The store as a graph is given it."""
    if request.param == "object":
        return mine
    register_store("mine", mine)
    return "mine"


# Runs.


def test_a_run_fails_and_goes_on_in_a_new_graph(given: Any, mine: Any) -> None:
    steps = Steps(given)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({"x": (1, {2})}, run_id="r")
    assert list(mine.list()) == ["r"]
    plan = steps.build().plan("r")
    assert (plan.status, plan.finished, plan.pending, plan.can_resume) == ("failed", ("a", "b"), "c", True)
    steps.failing = set()
    final = steps.build().resume("r")
    assert (steps.ran, final["path"], final["x"]) == (["a", "b", "c", "c", "d"], list("abcd"), (1, {2}))
    history = steps.build().history("r")
    assert [(entry.node, entry.state["path"]) for entry in history] == [
        (n, list("abcd"[: i + 1])) for i, n in enumerate("abcd")
    ]
    assert dict(steps.build().resume("r")) == dict(final)


def test_runs_are_listed_and_deleted(given: Any, mine: Any) -> None:
    steps = Steps(given)
    store = steps.graph.store
    steps.graph.execute({}, run_id="one", tags=["paper"])
    steps.failing = {"b"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="two")
    assert [(row.run_id, row.status, row.node) for row in store.runs()] == [
        ("two", "failed", "a"),
        ("one", "finished", "d"),
    ]
    assert [row.run_id for row in store.runs(tag="paper")] == ["one"]
    assert [row.run_id for row in store.runs(status="failed", graph="g")] == ["two"]
    assert store.runs(graph="other") == []
    store.delete("one")
    store.delete("never there")
    assert (list(mine.list()), store.list()) == (["two"], ["two"])
    with pytest.raises(CheckpointNotFoundError, match="failed to load checkpoint: checkpoint not found: one"):
        steps.build().resume("one")
    steps.failing = set()
    assert steps.build().execute({}, run_id="one")["path"] == list("abcd")


def test_the_verbs_through_the_store_are_those_of_the_object(given: Any, mine: Any) -> None:
    graph = StateGraph(config(given))
    graph.add_node("a", lambda state: None, version="1")
    graph.sequence("a")
    store = graph.store
    state = State({"x": [1, (2,)]}, run_id="hand")
    store.save(state)
    assert dict(mine.load("hand")) == dict(store.load("hand")) == {"x": [1, (2,)]}
    store.save(state.set("x", 3))
    assert dict(mine.load("hand")) == {"x": 3}
    assert graph.resume("hand").checkpoint_node == "a"
    with pytest.raises(CheckpointNotFoundError):
        store.load("unknown")


def test_a_key_error_of_load_means_that_there_is_no_such_run(given: Any) -> None:
    graph = Steps(given).graph
    for call in (graph.resume, graph.plan, graph.history, graph.cancel, graph.store.load):
        with pytest.raises(CheckpointNotFoundError, match="checkpoint not found: nope"):
            call("nope")


def test_a_run_that_is_not_preserved_leaves_nothing_behind(given: Any, mine: Any) -> None:
    steps = Steps(given, preserve=False)
    assert steps.graph.execute({"big": ["x" * 5000]}, run_id="r")["big"] == ["x" * 5000]
    assert list(mine.list()) == []
    with pytest.raises(CheckpointNotFoundError):
        steps.build().resume("r")


def test_a_run_id_in_use_is_refused_and_a_run_that_runs_is_owned(given: Any) -> None:
    steps = Steps(given, names="ab")
    owned: list[str] = []

    def meddle() -> None:
        with pytest.raises(RunOwnedError) as caught:
            steps.build().resume("r")
        owned.append(str(caught.value))
        with ThreadPoolExecutor(1) as elsewhere:  # inside the node, saving means the run's own checkpoint
            saving = elsewhere.submit(steps.graph.store.save, State({}, run_id="r"))
        assert isinstance(saving.exception(), RunOwnedError)

    steps.during["a"] = meddle
    steps.graph.execute({}, run_id="r")
    assert len(owned) == 1
    with pytest.raises(RunExistsError):
        steps.graph.execute({}, run_id="r")
    assert steps.graph.resume("r")["path"] == ["a", "b"]


def test_a_checkpoint_called_inside_a_node_saves_what_the_interval_held_back(given: Any, mine: Any) -> None:
    seen = []
    for number, store in enumerate((given, mine)):
        graph = StateGraph(config(given, interval=10))
        run_id = f"r{number}"
        graph.add_node("a", lambda state: {"a": 1}, version="1")

        def save(state: State, store: Any = store) -> None:
            state.checkpoint(store)
            seen.append(mine.load(state.run_id).checkpoint_node)

        graph.add_node("b", save, version="1")
        graph.sequence("a", "b")
        graph.execute({}, run_id=run_id)
        assert [entry.node for entry in graph.history(run_id)] == ["a", "b"]
    assert seen == ["a", "a"]


def test_every_kind_of_value_comes_back_exactly(given: Any) -> None:
    table = {str(number): value for number, value in enumerate(VALUES)}
    steps = Steps(given)
    steps.failing = {"b"}
    with pytest.raises(ExecutionError):
        steps.graph.execute(table, run_id="r")
    steps.failing = set()
    final = steps.build().resume("r")
    assert [name for name, value in table.items() if not same(final[name], value)] == []


def test_a_value_that_cannot_be_stored_reaches_no_store(given: Any, mine: Any) -> None:
    with pytest.raises(UnserializableError):
        Steps(given).graph.execute({"f": print}, run_id="r")
    assert list(mine.list()) == []


def test_a_long_run_keeps_the_size_of_what_it_holds(given: Any, mine: Any) -> None:
    graph = StateGraph(config(given, max_iterations=10_000))
    graph.add_node("n", lambda state: {"n": state["n"] + 1, "text": str(state["n"]) * 2000}, version="1")
    graph.add_node("end", lambda state: None, version="1")
    graph.add_edge("n", "n", lambda state: state["n"] < 300)
    graph.add_edge("n", "end")
    graph.set_entry_point("n")
    graph.set_exit_point("end")
    final = graph.execute({"n": 0, "big": ["y" * 100] * 1000}, run_id="r")
    assert final["big"] == ["y" * 100] * 1000
    assert len(mine.load("r").to_bytes()) < 200_000
    assert mine.load("r")["text"] == "299" * 2000


def test_what_the_history_of_an_own_store_no_longer_holds_is_a_typed_error(given: Any) -> None:
    graph = StateGraph(config(given))
    graph.add_node("a", lambda state: {"x": ["first " * 500]}, version="1")
    graph.add_node("b", lambda state: {"x": ["second " * 500]}, version="1")
    graph.sequence("a", "b")
    graph.execute({"y": 1}, run_id="r")
    first, second = graph.history("r")
    assert (first.node, first.state["y"], second.state["x"]) == ("a", 1, ["second " * 500])
    with pytest.raises(TauError, match="newest"):
        first.state["x"]


# Trouble in the user's store.


@pytest.mark.parametrize("saves", range(5))
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_store_that_fails_in_save_stops_the_run_and_loses_nothing_saved(saves: int, asynchronous: bool) -> None:
    mine = Failing()
    steps = Steps(mine)
    mine.saves_left = saves

    async def execute() -> State:
        return await steps.graph.aexecute({}, run_id="r") if asynchronous else steps.graph.execute({}, run_id="r")

    with pytest.raises(StoreError, match="Failing: save failed with OSError: the tape is full; mend") as caught:
        await execute()
    assert caught.value.location == "Failing:"
    assert isinstance(caught.value.__cause__, OSError)
    assert steps.types()[-1:] == ["graph.failed"]
    finished = list("abcd")[: max(0, saves - 1)]
    ran = list(steps.ran)
    assert ran == list("abcd")[: saves if saves else 0]
    mine.saves_left = 10**9
    if saves == 0:
        assert mine.kept == {}
        return
    assert steps.build().plan("r").finished == tuple(finished)
    assert steps.build().resume("r")["path"] == list("abcd")
    assert steps.ran == [*ran, *list("abcd")[len(finished) :]]


@pytest.mark.parametrize(
    ("verb", "use"),
    [
        ("load", lambda graph: graph.resume("r")),
        ("load", lambda graph: graph.plan("r")),
        ("load", lambda graph: graph.history("r")),
        ("load", lambda graph: graph.execute({}, run_id="s")),
        ("load", lambda graph: graph.store.load("r")),
        ("list", lambda graph: graph.store.runs()),
        ("list", lambda graph: graph.store.list()),
        ("delete", lambda graph: graph.store.delete("r")),
        ("save", lambda graph: graph.store.save(State({}, run_id="s"))),
    ],
)
def test_what_the_store_raises_is_wrapped_with_its_name_and_the_verb(
    verb: str, use: Callable[[StateGraph], Any]
) -> None:
    mine = Failing()
    steps = Steps(mine)
    steps.graph.execute({}, run_id="r")
    mine.broken = {verb}
    with pytest.raises(StoreError, match=f"Failing: {verb} failed with RuntimeError: no {verb} today; mend") as caught:
        use(steps.graph)
    assert isinstance(caught.value.__cause__, RuntimeError)
    mine.broken = set()
    assert steps.build().resume("r")["path"] == list("abcd")


def test_a_list_that_fails_while_it_is_read_is_wrapped_too() -> None:
    class Lazy(InADict):
        def list(self) -> Any:
            yield "r"
            raise RuntimeError("the line went dead")

    with pytest.raises(StoreError, match="Lazy: list failed with RuntimeError: the line went dead"):
        StateGraph(config(Lazy())).store.runs()


def test_verbs_that_are_no_methods_work_and_fail_alike() -> None:
    import functools
    from types import SimpleNamespace

    inner = Failing()
    verbs = {name: functools.partial(getattr(inner, name)) for name in ("save", "load", "delete", "list")}
    steps = Steps(SimpleNamespace(**verbs))
    assert steps.graph.execute({}, run_id="r")["path"] == list("abcd")
    inner.broken = {"list"}
    with pytest.raises(StoreError, match="list failed with RuntimeError"):
        steps.graph.store.runs()


def test_a_store_that_loses_the_bookkeeping_is_told_what_to_keep() -> None:
    """Never taken for a run that has not begun: that would do finished work again."""
    mine = Forgetful()
    steps = Steps(mine)
    with pytest.raises(StoreError, match=r"without the run's bookkeeping; keep the State .* state\.to_bytes\(\)"):
        steps.graph.execute({}, run_id="r")
    with pytest.raises(StoreError, match="without the run's bookkeeping"):
        steps.build().resume("r")
    assert steps.ran.count("a") <= 1


@pytest.mark.parametrize("answer", [None, {"x": 1}, b"bytes", 7, State({"x": 1}, run_id="r")])
def test_a_load_that_returns_something_else_is_told_what_to_return(answer: Any) -> None:
    class Odd(InADict):
        def load(self, run_id: str) -> State:
            return answer  # type: ignore[no-any-return]

    with pytest.raises(StoreError, match=r"Odd: load\('r'\) returned .*KeyError") as caught:
        Steps(Odd()).graph.resume("r")
    assert caught.value.location == "Odd:"


def test_a_load_that_returns_another_run_is_noticed() -> None:
    class Mixed(InADict):
        def load(self, run_id: str) -> State:
            return super().load("one")

    mine = Mixed()
    InADict.save(mine, State.from_bytes(State({}, run_id="one").to_bytes()))
    with pytest.raises(StoreError, match=r"load\('two'\)"):
        Steps(mine).graph.resume("two")


def test_what_is_no_store_is_refused() -> None:
    for nonsense in (object(), InADict, 7, ["mine"]):
        with pytest.raises(ConfigError):
            StateGraph("g", store=nonsense)
    with pytest.raises(ConfigError, match="call it"):
        StateGraph("g", store=InADict)
    with pytest.raises(ConfigError, match="unknown checkpoint store: 'mine'"):
        StateGraph("g", store="mine")


def test_the_same_object_is_the_same_store(mine: Any) -> None:
    register_store("mine", mine)
    assert StateGraph("g", store=mine).store is open_store("mine") is StateGraph("h", store="mine").store


# The bytes of a state.


def stored_state(run_id: str = "r") -> State:
    mine = InADict()
    steps = Steps(mine)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({"x": (1, "two" * 500), "y": float("nan")}, run_id=run_id)
    return mine.load(run_id)


def test_the_bytes_of_a_state_give_it_back_with_its_bookkeeping() -> None:
    state = stored_state()
    back = State.from_bytes(state.to_bytes())
    assert same(dict(back), dict(state))
    assert (back.run_id, back.checkpoint_node, back.timestamp) == ("r", "b", state.timestamp)
    assert back.to_bytes() == state.to_bytes()
    mine = InADict()
    mine.save(back)
    assert Steps(mine).graph.resume("r")["path"] == list("abcd")


@pytest.mark.parametrize("run_id", ["r", "a/b", "..", "\N{SNOWMAN}" * 500])
def test_the_bytes_of_a_new_state_begin_a_run(run_id: str) -> None:
    table = {str(number): value for number, value in enumerate(VALUES)}
    state = State(table, run_id=run_id)
    back = State.from_bytes(state.to_bytes())
    assert (back.run_id, back.checkpoint_node, back.timestamp) == (run_id, None, state.timestamp)
    assert [name for name, value in table.items() if not same(back[name], value)] == []


def test_changes_of_a_state_read_from_bytes_are_in_its_bytes() -> None:
    state = State.from_bytes(stored_state().to_bytes()).set("x", 2).drop("y")
    assert dict(State.from_bytes(state.to_bytes())) == dict(state)
    state = State.from_bytes(State({"rows": [1]}).to_bytes())
    state["rows"].append(2)
    assert State.from_bytes(state.to_bytes())["rows"] == [1, 2]


def test_every_flip_and_every_cut_of_the_bytes_is_a_typed_error() -> None:
    data = stored_state().to_bytes()
    damaged = [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))]
    damaged += [data[:length] for length in range(0, len(data), 7)]
    damaged += [data + b"\0", b"\0" * len(data), data[1:], b""]
    for one in damaged:
        with pytest.raises((CorruptCheckpointError, UnsupportedFormatError)):
            State.from_bytes(one)


def test_a_newer_format_is_refused() -> None:
    data = bytearray(stored_state().to_bytes())
    data[len(b"tau-state")] = 2
    with pytest.raises(UnsupportedFormatError, match="format 2, this version of tau reads 1") as caught:
        State.from_bytes(bytes(data))
    assert (caught.value.found, caught.value.supported) == (2, 1)


def test_sound_bytes_of_something_unknown_are_unsupported() -> None:
    for body in (b"\xc0", b"\x93\x01\x02\x03", b"\xc1", b""):
        with pytest.raises((UnsupportedFormatError, CorruptCheckpointError)):
            State.from_bytes(b"tau-state\x01" + hashlib.sha256(body).digest() + body)


def test_other_buffers_are_bytes_too_and_other_things_are_refused() -> None:
    data = State({"x": 1}).to_bytes()
    assert dict(State.from_bytes(memoryview(data))) == dict(State.from_bytes(bytearray(data))) == {"x": 1}
    for nonsense in ("text", None, 5, ["x"]):
        with pytest.raises(CorruptCheckpointError, match="a state is read from bytes"):
            State.from_bytes(nonsense)


def test_damaged_bytes_in_an_own_store_are_said_to_be_damaged(tmp_path: Path) -> None:
    mine = InFiles(tmp_path / "mine")
    steps = Steps(mine)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    path = mine.path("r")
    sound = path.read_bytes()
    for damage in (sound[:-5], b"", sound[:200] + b"?" + sound[201:]):
        path.write_bytes(damage)
        with pytest.raises(CorruptCheckpointError):
            steps.build().resume("r")
    path.write_bytes(sound)
    steps.failing = set()
    assert steps.build().resume("r")["path"] == list("abcd")
