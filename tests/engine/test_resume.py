"""What resume does, on every store."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from engine_steps import Steps, config, with_servers

from tau import (
    CheckpointNotFoundError,
    ExecutionError,
    RunCancelledError,
    RunExistsError,
    RunFinishedError,
    RunOwnedError,
    State,
    StateGraph,
    StoreUnavailableError,
    UnserializableError,
    key_equals,
    open_store,
)
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

__all__ = ["with_servers"]


def test_a_failed_run_goes_on_after_the_last_finished_node(store: Store) -> None:
    steps = Steps(store)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError) as caught:
        steps.graph.execute({"x": 1}, run_id="r")
    assert caught.value.state.checkpoint_node == "b"
    steps.failing = set()
    final = steps.build().resume("r")
    assert steps.ran == ["a", "b", "c", "c", "d"]
    assert final["path"] == ["a", "b", "c", "d"]
    assert (final.run_id, final.checkpoint_node) == ("r", "d")


def test_a_run_that_failed_in_its_first_node_resumes_from_its_input(store: Store) -> None:
    steps = Steps(store)
    steps.failing = {"a"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({"x": (1, 2)}, run_id="r")
    steps.failing = set()
    assert steps.build().resume("r")["x"] == (1, 2)


def test_a_finished_run_gives_its_result_again_and_runs_nothing(store: Store) -> None:
    steps = Steps(store)
    first = steps.graph.execute({}, run_id="r")
    ran = list(steps.ran)
    assert dict(steps.build().resume("r")) == dict(first)
    assert dict(steps.build().execute({}, run_id="r", if_exists="resume")) == dict(first)
    assert steps.ran == ran


def test_a_finished_run_that_was_not_preserved_is_gone_but_its_end_is_known(store: Store) -> None:
    steps = Steps(store, preserve=False)
    steps.graph.execute({}, run_id="r")
    assert store.list() == []
    with pytest.raises(RunFinishedError, match="finished at") as caught:
        steps.build().resume("r")
    assert caught.value.finished_at is not None
    assert isinstance(caught.value, CheckpointNotFoundError)
    with pytest.raises(CheckpointNotFoundError):
        store.load("r")
    assert [(row.run_id, row.status) for row in store.runs()] == [("r", "finished")]
    assert not steps.build().plan("r").can_resume
    assert store.blobs("r", []) == {}
    assert store.read("r") == []


def test_the_final_state_of_an_unpreserved_run_stays_readable_after_a_resume(store: Store) -> None:
    steps = Steps(store, preserve=False)
    steps.failing = {"d"}
    big = "text " * 1000
    with pytest.raises(ExecutionError):
        steps.graph.execute({"unread": [big]}, run_id="r")
    steps.failing = set()
    assert steps.build().resume("r")["unread"] == [big]


def test_an_unknown_run_is_not_found(store: Store) -> None:
    with pytest.raises(CheckpointNotFoundError, match="failed to load checkpoint: checkpoint not found: nope"):
        Steps(store).graph.resume("nope")


def test_a_run_id_in_use_is_refused_with_its_status(store: Store) -> None:
    steps = Steps(store)
    steps.graph.execute({}, run_id="r")
    with pytest.raises(RunExistsError, match="with status finished") as caught:
        steps.graph.execute({}, run_id="r")
    assert caught.value.status == "finished"


def test_resuming_by_execute_refuses_another_input(store: Store) -> None:
    steps = Steps(store)
    steps.failing = {"b"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({"x": 1}, run_id="r")
    steps.failing = set()
    with pytest.raises(RunExistsError, match="another input") as caught:
        steps.graph.execute({"x": 2, "y": 1}, run_id="r", if_exists="resume")
    assert caught.value.differs == ("'y' is new", "'x' differs")
    with pytest.raises(RunExistsError, match="already exists") as caught:
        asyncio.run(steps.graph.aexecute({"y": 1}, run_id="r"))
    assert caught.value.differs == ("'y' is new", "'x' is left out")
    with pytest.raises(RunExistsError, match="already exists") as caught:
        steps.graph.execute({"x": 1}, run_id="r")
    assert caught.value.differs == ()
    assert steps.graph.execute({"x": 1}, run_id="r", if_exists="resume")["x"] == 1
    assert steps.ran.count("a") == 1


def test_a_deleted_run_can_be_made_anew(store: Store) -> None:
    steps = Steps(store)
    steps.graph.execute({"x": 1}, run_id="r")
    store.delete("r")
    with pytest.raises(CheckpointNotFoundError):
        steps.build().resume("r")
    assert steps.build().execute({"x": 2}, run_id="r")["x"] == 2


def test_iterations_path_and_visits_go_on_counting(store: Store) -> None:
    failing = {"on"}

    def build() -> StateGraph:
        def work(state: State) -> dict[str, Any]:
            if state["n"] == 2 and failing:
                raise ValueError("stop here")
            return {"n": state["n"] + 1}

        graph = StateGraph(config(store, max_iterations=4))
        graph.add_node("work", work, version="1")
        graph.add_node("end", lambda state: None, version="1")
        graph.add_edge("work", "work", lambda state: state["n"] < 9)
        graph.add_edge("work", "end")
        graph.set_entry_point("work")
        graph.set_exit_point("end")
        return graph

    with pytest.raises(ExecutionError) as caught:
        build().execute({"n": 0}, run_id="r")
    assert tuple(caught.value.path) == ("work", "work", "work")
    failing.clear()
    with pytest.raises(ExecutionError, match=r"max iterations \(4\) exceeded") as caught:
        build().resume("r")
    assert tuple(caught.value.path) == ("work",) * 5
    assert caught.value.state["n"] == 4


def test_the_edge_chosen_before_the_crash_is_followed_even_if_it_would_not_be_chosen_again(store: Store) -> None:
    weather = {"fine": True}
    failing = {"walk"}
    ran = []

    def build() -> StateGraph:
        def node(name: str) -> Any:
            def run(state: State) -> None:
                ran.append(name)
                if name in failing:
                    raise ValueError("twisted ankle")

            return run

        graph = StateGraph(config(store))
        for name in ("look", "walk", "read"):
            graph.add_node(name, node(name), version="1")
        graph.add_edge("look", "walk", lambda state: weather["fine"])
        graph.add_edge("look", "read")
        graph.set_entry_point("look")
        graph.set_exit_point("walk")
        graph.set_exit_point("read")
        return graph

    with pytest.raises(ExecutionError):
        build().execute({}, run_id="r")
    failing.clear()
    weather["fine"] = False
    build().resume("r")
    assert ran == ["look", "walk", "walk"]


def test_an_exit_with_outgoing_edges_stays_the_end_after_resume(store: Store) -> None:
    graph = StateGraph(config(store))
    ran = []
    for name in "abc":
        graph.add_node(name, lambda state, name=name: ran.append(name), version="1")
    graph.add_edge("a", "b", key_equals("x", 1))
    graph.add_edge("a", "c")
    graph.add_edge("b", "c")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    graph.set_exit_point("c")
    graph.execute({"x": 1}, run_id="r")
    assert graph.resume("r").checkpoint_node == "b"
    assert ran == ["a", "b"]


def test_a_node_without_an_edge_that_holds_is_kept_and_the_edge_chosen_on_resume(store: Store) -> None:
    ran = []

    def build(expected: int) -> StateGraph:
        graph = StateGraph(config(store))
        graph.add_node("long", lambda state: ran.append("long"), version="1")
        graph.add_node("end", lambda state: None, version="1")
        graph.add_edge("long", "end", key_equals("x", expected))
        graph.set_entry_point("long")
        graph.set_exit_point("end")
        return graph

    with pytest.raises(ExecutionError, match="no valid transition from node long"):
        build(1).execute({"x": 2}, run_id="r")
    assert build(2).resume("r").checkpoint_node == "end"
    assert ran == ["long"]


def test_events_of_a_resume_come_in_order_and_say_where_it_goes_on(store: Store) -> None:
    steps = Steps(store)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    steps.failing = set()
    steps.recorder.clear()
    steps.build().resume("r")
    assert steps.types()[:4] == ["checkpoint.load", "checkpoint.resume", "graph.start", "node.start"]
    data = [dict(event.data) for event in steps.recorder.events]
    assert data[0] == {"node": "b", "run_id": "r"}
    assert data[1] == {"checkpoint_node": "b", "resume_node": "c", "run_id": "r"}
    assert {"resumed": True, "start_node": "c"}.items() <= data[2].items()
    assert steps.types()[-2:] == ["checkpoint.save", "graph.complete"]
    assert dict(steps.recorder.events[-1].data)["iterations"] == 4


def test_checkpoint_save_precedes_the_edges_and_names_keys_not_values(store: Store) -> None:
    steps = Steps(store, names="ab")
    steps.graph.execute({"secret": "sk-CANARY"}, run_id="r")
    assert steps.types() == [
        "graph.start", "node.start", "node.complete", "checkpoint.save", "edge.evaluate", "edge.transition",
        "node.start", "node.complete", "checkpoint.save", "graph.complete",
    ]  # fmt: skip
    saved = next(event for event in steps.recorder.events if event.type == "checkpoint.save")
    assert dict(saved.data) == {"node": "a", "changed": ["a", "path"], "removed": [], "run_id": "r"}
    assert "sk-CANARY" not in repr(steps.recorder.events)


def test_history_tells_each_visit_with_the_state_as_of_then(store: Store) -> None:
    steps = Steps(store)
    final = steps.graph.execute({"x": 1}, run_id="r")
    history = steps.graph.history("r")
    assert [(entry.node, entry.visit, entry.next) for entry in history] == [
        ("a", 1, "b"), ("b", 1, "c"), ("c", 1, "d"), ("d", 1, None),
    ]  # fmt: skip
    assert [entry.state["path"] for entry in history] == [list("abcd")[: n + 1] for n in range(4)]
    assert dict(history[-1].state) == dict(final)
    assert [entry.position for entry in history] == sorted(entry.seq for entry in history)
    assert all(entry.state.checkpoint_node == entry.node for entry in history)


def test_a_long_run_resumes_from_its_newest_manifest(store: Store) -> None:
    failing = {"on"}

    def build() -> StateGraph:
        def work(state: State) -> dict[str, Any]:
            if state["n"] == 300 and failing:
                raise ValueError("stop here")
            return {"n": state["n"] + 1, "all": [*state["all"], state["n"]]}

        graph = StateGraph(config(store, max_iterations=10_000))
        graph.add_node("work", work, version="1")
        graph.add_node("end", lambda state: None, version="1")
        graph.add_edge("work", "work", lambda state: state["n"] < 400)
        graph.add_edge("work", "end")
        graph.set_entry_point("work")
        graph.set_exit_point("end")
        return graph

    with pytest.raises(ExecutionError):
        build().execute({"n": 0, "all": [], "still": "here" * 500}, run_id="r")
    summary = store.summary("r")
    assert summary is not None
    assert summary.base > 100
    failing.clear()
    final = build().resume("r")
    assert final["all"] == list(range(400))
    assert final["still"] == "here" * 500
    history = build().history("r")
    assert len(history) == 401
    assert history[299].state["all"] == list(range(300))


def test_an_interval_saves_every_nth_node_and_whenever_the_run_ends(store: Store) -> None:
    steps = Steps(store, names="abcdefg", interval=3)
    steps.failing = {"f"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    saves = [dict(event.data)["node"] for event in steps.recorder.events if event.type == "checkpoint.save"]
    assert saves == ["c", "e"]
    assert [entry.node for entry in steps.graph.history("r")] == list("abcde")
    steps.failing = set()
    assert steps.build().resume("r")["path"] == list("abcdefg")
    assert steps.ran.count("e") == 1


def test_a_checkpoint_called_inside_a_node_saves_what_the_interval_held_back(store: Store) -> None:
    seen = []
    told: list[Any] = []
    graph = StateGraph(config(store, interval=10, observer=told.append))
    graph.add_node("a", lambda state: {"a": 1})
    graph.add_node("b", lambda state: (state.checkpoint(store), seen.append(len(graph.history("r"))))[0])
    graph.add_node("c", lambda state: None)
    graph.sequence("a", "b", "c")
    graph.execute({}, run_id="r")
    assert seen == [1]
    assert [event.data["node"] for event in told if event.type == "checkpoint.save"] == ["a", "c"]


def test_saving_another_runs_state_from_outside_is_refused_while_it_runs(store: Store) -> None:
    refused = []
    graph = StateGraph(config(store))
    other = StateGraph(config(store, name="other"))

    def try_it(state: State) -> None:
        try:
            State({}, run_id="r").checkpoint(store)
        except RunOwnedError as error:
            refused.append(error)

    other.add_node("try", try_it)
    other.sequence("try")
    graph.add_node("a", lambda state: (other.execute({}), None)[1])
    graph.sequence("a")
    graph.execute({}, run_id="r")
    assert len(refused) == 1


def test_a_state_saved_by_hand_comes_back_and_runs_from_the_entry(store: Store) -> None:
    state = State({"x": (1, {"y"})}, run_id="hand")
    state.checkpoint(store)
    state.set("x", (2,)).checkpoint(store)
    assert store.list() == ["hand"]
    loaded = store.load("hand")
    assert (dict(loaded), loaded.run_id, loaded.checkpoint_node) == ({"x": (2,)}, "hand", None)
    assert Steps(store).graph.resume("hand")["path"] == list("abcd")


def test_a_state_changed_by_hand_is_what_the_run_goes_on_with(store: Store) -> None:
    steps = Steps(store)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    store.save(store.load("r").set("path", ["mended"]))
    steps.failing = set()
    assert steps.build().resume("r")["path"] == ["mended", "c", "d"]


def test_cancel_ends_a_run_for_good(store: Store) -> None:
    steps = Steps(store)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    steps.graph.cancel("r")
    steps.graph.cancel("r")
    assert [row.status for row in store.runs()] == ["cancelled"]
    with pytest.raises(RunCancelledError):
        steps.build().resume("r")
    with pytest.raises(CheckpointNotFoundError):
        steps.graph.cancel("unknown")


def test_cancel_stops_a_run_that_is_running(store: Store) -> None:
    steps = Steps(store, names="abc")
    graph = StateGraph(config(store, observer=steps.recorder))
    graph.add_node("a", lambda state: graph.cancel("r"))
    graph.add_node("b", lambda state: pytest.fail("ran on"))
    graph.sequence("a", "b")
    with pytest.raises(RunCancelledError):
        graph.execute({}, run_id="r")
    assert steps.types()[-1] == "graph.cancelled"
    assert [row.status for row in store.runs()] == ["cancelled"]


def test_runs_can_be_listed_by_graph_status_and_tag(store: Store) -> None:
    steps = Steps(store)
    steps.graph.execute({}, run_id="one", tags=["paper"])
    steps.failing = {"b"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="two")
    rows = {row.run_id: row for row in store.runs()}
    assert (rows["one"].status, rows["one"].node, rows["one"].iterations, rows["one"].tags) == (
        "finished", "d", 4, ("paper",),
    )  # fmt: skip
    assert (rows["two"].status, rows["two"].node, rows["two"].graph) == ("failed", "a", "g")
    assert rows["one"].updated_at.tzinfo is not None
    assert [row.run_id for row in store.runs(tag="paper")] == ["one"]
    assert [row.run_id for row in store.runs(status="failed")] == ["two"]
    assert store.runs(graph="other") == []


ODD_IDS = [
    "a/b",
    "..",
    "../../etc/passwd",
    "x" * 500,
    "run 🌍",
    ".",
    "CON",
    "a.",
    "A",
    "a",
    "%2e",
    "-rf",
    "' OR 1=1 --",
]


def test_odd_run_ids_work_exactly_and_stay_apart(store: Store, tmp_path: Path) -> None:
    steps = Steps(store, names="a")
    for number, run_id in enumerate(ODD_IDS):
        steps.graph.execute({"number": number}, run_id=run_id)
    assert sorted(store.list()) == sorted(ODD_IDS)
    for number, run_id in enumerate(ODD_IDS):
        assert steps.build().resume(run_id)["number"] == number
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} <= {"runs", "runs.db"}


@pytest.mark.parametrize("run_id", ["", "a\0b", "\ud800", "x" * 1025, 7])
def test_run_ids_that_no_store_can_keep_are_refused(run_id: Any, store: Store) -> None:
    from tau import ConfigError

    with pytest.raises(ConfigError, match="run id"):
        Steps(store).graph.execute({}, run_id=run_id)
    assert store.list() == []


def test_an_unstorable_input_is_refused_before_anything_is_written(store: Store) -> None:
    with pytest.raises(UnserializableError, match=r"state\['x'\]\[1\]") as caught:
        Steps(store).graph.execute({"x": [1, lambda: None]}, run_id="r")
    assert (caught.value.key, caught.value.node, caught.value.type_name) == ("x", None, "function")
    assert store.summary("r") is None


def test_a_store_that_holds_a_state_of_its_own_is_freed_with_it() -> None:
    """A loaded state fetches from its store: a circle, which the garbage collector must see."""

    class Remembering(MemoryStore):
        last: State

    kept = Remembering()
    Steps(kept).build().execute({"long": "x" * 5000}, run_id="r")
    kept.last = kept.load("r")
    gone = weakref.ref(kept)
    del kept
    gc.collect()
    assert gone() is None


def test_a_store_that_fails_in_the_middle_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    inner = open_store(f"file://{root}")
    steps = Steps(inner, names="abc")
    moved = tmp_path / "moved"

    def vanish(event: Any) -> None:
        if event.type == "node.start" and event.data["node"] == "b":
            root.rename(moved)

    with pytest.raises(StoreUnavailableError, match="runs"):
        steps.graph.execute({}, run_id="r", observer=vanish)
    assert steps.types()[-1] == "graph.failed"
    moved.rename(root)
    final = steps.build().resume("r")
    assert final["path"] == ["a", "b", "c"]
    assert steps.ran == ["a", "b", "b", "c"]
