"""A mistake is answered with what was found and what was meant, not with an error from inside tau."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import pytest

import tau
from tau import (
    CheckpointConfig,
    CheckpointNotFoundError,
    ConfigError,
    Context,
    ExecutionError,
    GraphConfig,
    GraphError,
    ParallelConfig,
    Retry,
    RunOwnedError,
    State,
    StateGraph,
    open_store,
    other_words,
    register_observer,
    stop_on,
)
from tau.cli.app import COMMANDS, commands
from tau.stores.memory import MemoryStore
from tau.testing import CountingStore, FlakyStore, SlowStore


def one(function: Callable[..., Any], store: Any = None) -> StateGraph:
    graph = StateGraph("g", store=store)
    graph.add_node("n", function)
    graph.sequence("n")
    return graph


def test_a_resource_that_is_not_there_is_told_from_those_that_are() -> None:
    def n(state: State, ctx: Context) -> None:
        assert ctx.resources.get("x") is None
        return ctx.resources["clinet"]

    with pytest.raises(ExecutionError, match=r"'clinet' is not in the resources of this run.*did you mean 'client'\?"):
        one(n).execute({}, resources={"client": 1})
    with pytest.raises(ExecutionError, match="was given nothing"):
        one(n).execute({})


def test_a_misspelt_key_is_answered_with_the_near_one() -> None:
    with pytest.raises(KeyError, match=r"'seires' is not in the state; it holds 'series'; did you mean 'series'\?"):
        State({"series": 1})["seires"]
    with pytest.raises(KeyError, match=r"it holds 'series'.$"):
        State({"series": 1})["x"]


def test_a_misspelt_option_of_a_node_is_answered_with_the_near_one() -> None:
    graph = StateGraph("g")
    with pytest.raises(TypeError, match=r"@graph.node has no option 'retries'; did you mean 'retry'\?"):
        graph.node(retries=3)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: StateGraph("g").add_node("n", print, retries=3), "add_node() got an unexpected keyword argument "
         "'retries'; did you mean 'retry'?"),
        (lambda: StateGraph("g").add_node("n", print, qqq=3), "'qqq'; it takes name, function, retry, timeout"),
        (lambda: GraphConfig("g", max_iteration=3), "'max_iteration'; did you mean 'max_iterations'?"),
        (lambda: CheckpointConfig(intervall=1), "'intervall'; did you mean 'interval'?"),
        (lambda: Retry(attempt=2), "'attempt'; did you mean 'attempts'?"),
        (lambda: ParallelConfig(max_worker=2), "'max_worker'; did you mean 'max_workers'?"),
        (lambda: StateGraph("g", stores="memory:"), "'stores'; did you mean 'store'?"),
        (lambda: asyncio.run(StateGraph("g").aexecute({}, runid="r")), "aexecute() got an unexpected keyword argument "
         "'runid'; did you mean 'run_id'?"),
        (lambda: asyncio.run(StateGraph("g").aresume("r", onchange="redo")), "'onchange'; did you mean 'on_change'?"),
        (lambda: StateGraph("g").astream({}, run="r"), "'run'; did you mean 'run_id'?"),
        (lambda: StateGraph("g").answer("r", "review", 1, change={}), "'change'; did you mean 'changes'?"),
    ],
    ids=[
        "add_node", "none near", "graph", "checkpoint", "retry", "parallel", "new", "async", "later", "stream",
        "answer",
    ],
)  # fmt: skip
def test_a_misspelt_keyword_is_answered_with_the_near_one(call: Callable[[], object], said: str) -> None:
    with pytest.raises(TypeError, match=re.escape(said)):
        call()


def test_what_takes_named_keywords_shows_what_it_takes() -> None:
    assert list(inspect.signature(GraphConfig).parameters)[:2] == ["name", "observer"]
    assert "retry" in inspect.signature(StateGraph.add_node).parameters
    assert "run_id" in inspect.signature(StateGraph.aexecute).parameters
    assert inspect.iscoroutinefunction(StateGraph.aexecute)
    assert replace(GraphConfig("g"), max_iterations=3).max_iterations == 3


@pytest.mark.parametrize("call", ["sequence", "set_entry_point", "set_exit_point"])
def test_nodes_are_named_by_text_or_function(call: str) -> None:
    with pytest.raises(GraphError, match="must be the name of a node, or its function, found 5"):
        getattr(StateGraph("g"), call)(5)


def test_the_year_is_said_in_figures() -> None:
    with pytest.raises(ConfigError, match=r"at most 31,536,000 \(a year in seconds\)"):
        StateGraph("g").add_node("n", lambda state: None, timeout=1e9)


def test_a_predicate_that_does_not_take_the_state_is_refused_at_once() -> None:
    graph = StateGraph("g")
    with pytest.raises(GraphError, match="cannot be called with the state alone"):
        graph.add_edge("a", "b", lambda: True)  # type: ignore[arg-type, misc]
    graph.add_edge("a", "b", lambda state, limit=3: True)


def test_what_a_store_cannot_save_is_refused() -> None:
    with pytest.raises(ConfigError, match="a store saves a State, found int"):
        MemoryStore().save(5)  # type: ignore[arg-type]


def test_a_signal_that_cannot_be_handled_is_named() -> None:
    with pytest.raises(OSError, match="no process can handle SIGKILL"), stop_on(9):
        pass


def test_a_node_that_resumes_its_own_run_is_told_that_the_owner_is_this_process() -> None:
    graph: StateGraph

    def n(state: State, ctx: Context) -> None:
        graph.resume(ctx.run_id)

    graph = one(n, MemoryStore())
    with pytest.raises(ExecutionError) as caught:
        graph.execute({})
    assert isinstance(caught.value.__cause__, RunOwnedError)
    assert "which is this very process" in str(caught.value.__cause__)
    assert "cancel" not in str(caught.value.__cause__)


def test_a_path_with_a_file_in_it_is_said_to_have_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for url in (f"sqlite:///{tmp_path}/file/x.db", f"file:{tmp_path}/file/runs"):
        with pytest.raises(OSError, match="a part of the path is a file: choose another place"):
            open_store(url).save(State({"a": 1}))


@pytest.mark.parametrize("observer", [lambda: 1, lambda event, more: 1])
def test_an_observer_that_does_not_take_one_event_is_refused(observer: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="cannot be called with one event"):
        StateGraph("g", observer=observer)
    with pytest.raises(ConfigError, match="cannot be called with one event"):
        register_observer("short", observer)


def test_a_url_with_a_query_shows_its_names_and_hides_its_values() -> None:
    with pytest.raises(ConfigError, match=r"'sqlite:///x.db\?mode=\*\*\*&\*\*\*': this store has no options"):
        open_store("sqlite:///x.db?mode=secret&secret")


def test_a_context_that_is_sent_elsewhere_says_what_there_is_there() -> None:
    def node(state: State, ctx: Context) -> dict[str, str]:
        with pytest.raises(TypeError, match=r"belongs to the process of its run; in a worker process tau\.current\(\)"):
            pickle.dumps(ctx)
        return {"done": "yes"}

    graph = StateGraph("g")
    graph.add_node("n", node)
    graph.sequence("n")
    assert graph.execute({})["done"] == "yes"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("compile", "needs no compiling: call execute"),
        ("invoke", r"call execute\(state\)"),
        ("update_state", "fork"),
        ("set_finish_point", "set_exit_point"),
        ("exectue", "did you mean 'execute'"),
    ],
)
def test_a_verb_of_another_library_is_answered_with_ours(name: str, hint: str) -> None:
    graph = StateGraph("words")
    assert not hasattr(graph, name)
    with pytest.raises(AttributeError, match=f"a StateGraph has no '{name}'.*{hint}"):
        getattr(graph, name)


@pytest.mark.parametrize(("name", "hint"), [("task", "@graph.node"), ("flow", "StateGraph"), ("Send", "ctx.map")])
def test_a_name_of_another_library_is_answered_with_ours(name: str, hint: str) -> None:
    assert not hasattr(tau, name)
    with pytest.raises(AttributeError, match=f"module 'tau' has no attribute '{name}': .*{hint}"):
        getattr(tau, name)


@pytest.mark.parametrize(("name", "meant"), [("thread_id", "run_id"), ("workflow_id", "run_id")])
def test_a_keyword_of_another_library_is_answered_with_ours(name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"argument '{name}'; did you mean '{meant}'\?"):
        StateGraph("words").execute({}, **{name: "r"})
    with pytest.raises(TypeError, match=r"argument 'checkpointer'; did you mean 'store'\?"):
        StateGraph("words", checkpointer=None)  # type: ignore[call-arg]


def test_a_class_for_the_state_is_a_schema() -> None:
    class Weather(TypedDict):
        rows: int

    with pytest.raises(ConfigError, match=r"as in StateGraph\('climate', schema=Weather\)"):
        StateGraph(Weather)  # type: ignore[arg-type]


def test_a_resume_where_nothing_is_stored_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    graph = one(lambda state: {"a": 1})
    for _ in range(2):
        graph.execute({}, run_id="mine", if_exists="resume")
    assert [one.getMessage() for one in caplog.records] == [
        "graph g has no store, so if_exists='resume' finds no run and each call begins anew: "
        "StateGraph(name, store=...) keeps runs"
    ]
    with_store = one(lambda state: {"a": 1}, "memory:")
    with_store.execute({}, run_id="mine", if_exists="resume")
    assert len(caplog.records) == 1


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "file"])
def test_an_id_that_is_not_known_is_told_with_the_one_that_was_meant(scheme: str, tmp_path: Path) -> None:
    url = {"file": f"file:{tmp_path}/runs", "sqlite": f"sqlite:///{tmp_path}/tau.db"}.get(scheme, "memory:")
    graph = one(lambda state: {"a": 1}, open_store(url))
    mine, made = graph.execute({}, run_id="climate-2024").run_id, graph.execute({}).run_id
    for asked, meant in (("climate-2042", mine), ("climate", mine), (made[:8], made)):
        verbs: list[Callable[[str], Any]] = [
            graph.resume,
            graph.plan,
            graph.history,
            graph.failure,
            graph.wait,
            graph.cancel,
            graph.fork,
            graph.store.load,
            lambda run_id: asyncio.run(graph.aresume(run_id)),
        ]
        for verb in verbs:
            with pytest.raises(
                CheckpointNotFoundError, match=rf"there is no run of that id; did you mean '{meant}'\? "
            ):
                verb(asked)
    for asked in ("weather", "cli"):
        with pytest.raises(CheckpointNotFoundError, match=r"of that id; store\.runs\(\) lists those"):
            graph.resume(asked)
    graph.store.delete(mine)
    with pytest.raises(CheckpointNotFoundError, match=r"of that id; store\.runs\(\) lists those"):
        graph.resume("climate-2042")


def test_where_it_is_asked_for_no_resume_nobody_looks_for_another_id() -> None:
    store = CountingStore(open_store("memory:"))
    graph = one(lambda state: {"a": 1}, store)
    graph.execute({}, run_id="climate-2024")
    graph.execute({}, run_id="climate-2042", if_exists="resume")
    assert store.calls["some_run_ids"] == store.calls["select"] == 0


def test_a_key_that_is_set_is_told_how_it_is_returned() -> None:
    state: Any = tau.State({"a": 1})
    with pytest.raises(TypeError, match=r"a key of a state is set by returning it: return \{'a': \.\.\.\}"):
        state["a"] = 2
    with pytest.raises(TypeError, match=r"by returning it without: return state\.drop\('a'\)"):
        del state["a"]


def test_what_is_said_of_other_words_exists() -> None:
    assert not other_words.OF_COMMANDS.keys() & COMMANDS.keys()
    assert {one.split()[1] for one in other_words.OF_COMMANDS.values()} <= COMMANDS.keys()
    taken = [{word for one in command.params for word in one.opts} for command in commands().values()]
    for name, options in other_words.OF_OPTIONS.items():
        assert all(any(option in one for one in taken) for option in options)
        assert not any(f"--{name}" in one and one & {*options} for one in taken)
    assert not [name for name in other_words.OF_GRAPHS if hasattr(StateGraph, name)]
    assert not [name for name in other_words.OF_TAU if name in tau.__all__]
    said = re.findall(r"\b(store\.)?([a-z_]+)\(", " ".join(other_words.OF_GRAPHS.values()))
    assert not [name for store, name in said if not hasattr(MemoryStore if store else StateGraph, name)]


def called(verb: Callable[..., Any], keyword: str) -> None:
    found = verb(**{keyword: 1})
    if inspect.iscoroutine(found):
        asyncio.run(found)


def test_every_verb_of_a_graph_and_every_function_of_tau_names_the_keyword_that_was_meant() -> None:
    graph = one(lambda state: {"a": 1}, "memory:")
    alone = [one for one in (getattr(tau, name) for name in tau.__all__) if inspect.isfunction(one)]
    verbs = [getattr(graph, name) for name in dir(StateGraph) if not name.startswith("_")]
    asked = 0
    for verb in (*filter(inspect.ismethod, verbs), *alone):
        known = [one.name for one in inspect.signature(verb).parameters.values() if one.kind is one.KEYWORD_ONLY]
        for name in known:
            with pytest.raises(TypeError, match=rf"'{name}x'.*; did you mean '{name}'\?"):
                called(verb, name + "x")
            asked += 1
    assert asked > 100


def test_the_block_of_an_artifact_that_is_taken_for_a_path_says_how_it_is_used(tmp_path: Path) -> None:
    def write(state: State, ctx: Context) -> None:
        for misuse in (open, Path, os.fspath):
            with pytest.raises(TypeError, match=r"is a block, not a path: write with ctx\.artifact\(name\) as path"):
                misuse(ctx.artifact("means.csv"))  # type: ignore[operator]

    one(write, f"sqlite:///{tmp_path}/runs.db").execute({})


@pytest.mark.parametrize("kind", [SlowStore, FlakyStore])
def test_a_wrapper_of_a_store_refuses_a_method_that_no_store_has(kind: Any) -> None:
    with pytest.raises(ConfigError, match="methods: a store has no method 'comit'; did you mean 'commit'"):
        kind(MemoryStore(), methods=["read", "comit"])
    kind(MemoryStore(), methods=["commit", "some_due", "renew"])
    kind(MemoryStore(), methods=())
