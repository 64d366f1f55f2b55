"""A graph that is edited while a run of it waits: the run goes on and says so, or is refused and says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from edited_graphs import FAILING, GOES_ON, HOPELESS, RAN, REFUSED, Edit, build
from engine_steps import config, elsewhere

from tau import Context, ExecutionError, GraphChangedError, State, StateGraph, key_equals
from tau.host import Host
from tau.log.append import Append
from tau.log.encoding import unseal
from tau.log.journal import Journal
from tau.log.loading import load
from tau.log.records import Claimed, Interrupted, Item
from tau.observers import Recorder
from tau.stores.contract import Store

DONE = ["a", "b", "a", "b", "c"]


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    yield
    RAN.clear()
    FAILING.clear()


def failed_run(store: Store, **edited: Any) -> None:
    """The run ``r``, with d in its way."""
    FAILING.add("d")
    with pytest.raises(ExecutionError, match="d broke"):
        build(store, **edited).execute({}, run_id="r")
    assert [*DONE, "d"] == RAN
    FAILING.clear()
    RAN.clear()


def everything(store: Store) -> Any:
    return store.summary("r"), store.read("r"), store.lease("r")


def changed(recorder: Recorder) -> list[dict[str, Any]]:
    return [dict(event.data) for event in recorder.events if event.type == "graph.changed"]


def claims(store: Store) -> list[Claimed]:
    records = [unseal("r", position, data) for position, data in store.read("r")]
    return [record for record in records if isinstance(record, Claimed)]


def check_said(found: Any, edit: Edit) -> None:
    assert len(found) == len(edit.said), found
    assert all(sum(one.startswith(said) for one in found) == 1 for said in edit.said), found


def check_went_on(graph: StateGraph, final: Any, edit: Edit) -> None:
    assert edit.then.split() == RAN
    assert final["path"] == [*DONE, *edit.then.split()]
    assert [entry.state["path"] for entry in graph.history("r")] == [
        final["path"][: n + 1] for n in range(len(final["path"]))
    ]


@pytest.mark.parametrize("name", GOES_ON)
def test_a_run_goes_on_with_an_event_that_names_the_change(store: Store, name: str) -> None:
    edit = GOES_ON[name]
    failed_run(store)
    recorder = Recorder()
    with elsewhere(store) as fresh:
        graph = build(fresh, observer=recorder, **edit.edited)
        before = everything(fresh)
        plan = graph.plan("r")
        assert everything(fresh) == before
        assert (plan.can_resume, plan.blocking, plan.finished, plan.pending) == (True, (), tuple(DONE), "d")
        check_said(plan.notes, edit)
        final = graph.resume("r")
        check_went_on(graph, final, edit)
        told = {"changes": list(plan.notes), "on_change": "error", "run_id": "r"}
        assert changed(recorder) == ([told] if edit.said else [])
        assert (claims(fresh)[-1].changes, claims(fresh)[-1].on_change) == (plan.notes, "error")


@pytest.mark.parametrize("name", REFUSED)
def test_a_run_is_refused_naming_the_change_and_goes_on_only_when_told_to(store: Store, name: str) -> None:
    edit = REFUSED[name]
    failed_run(store)
    recorder = Recorder()
    with elsewhere(store) as fresh:
        graph = build(fresh, observer=recorder, **edit.edited)
        before = everything(fresh)
        plan = graph.plan("r")
        assert not plan.can_resume
        check_said(plan.blocking, edit)
        with pytest.raises(GraphChangedError, match="cannot be resumed with the graph as it is now") as caught:
            graph.resume("r")
        assert (caught.value.run_id, caught.value.changes) == ("r", plan.blocking)
        assert all(change in str(caught.value) for change in plan.blocking)
        assert (everything(fresh), RAN, changed(recorder)) == (before, [], [])
        final = graph.resume("r", on_change="continue")
        check_went_on(graph, final, edit)
        found = [*plan.blocking, *plan.notes]
        assert changed(recorder) == [{"changes": found, "on_change": "continue", "run_id": "r"}]
        assert (claims(fresh)[-1].changes, claims(fresh)[-1].on_change) == (tuple(found), "continue")


@pytest.mark.parametrize("name", REFUSED | HOPELESS)
def test_a_refused_run_goes_on_with_the_graph_as_it_was(store: Store, name: str) -> None:
    failed_run(store)
    with elsewhere(store) as fresh:
        with pytest.raises(GraphChangedError):
            build(fresh, **(REFUSED | HOPELESS)[name].edited).resume("r")
        recorder = Recorder()
        assert build(fresh, observer=recorder).resume("r")["path"] == [*DONE, "d", "e"]
        assert (RAN, changed(recorder)) == (["d", "e"], [])


@pytest.mark.parametrize("on_change", ["error", "continue", "redo"])
@pytest.mark.parametrize("name", HOPELESS)
def test_a_run_whose_next_node_is_gone_is_refused_whatever_is_wanted(store: Store, name: str, on_change: str) -> None:
    edit = HOPELESS[name]
    failed_run(store)
    graph = build(store, **edit.edited)
    before, plan = everything(store), graph.plan("r")
    check_said(plan.blocking, edit)
    with pytest.raises(GraphChangedError) as caught:
        graph.resume("r", on_change=on_change)
    assert caught.value.changes == plan.blocking
    assert (everything(store), RAN) == (before, [])


def test_execute_over_an_existing_run_judges_the_graph_too(store: Store) -> None:
    failed_run(store)
    graph = build(store, code={"b": "other"})
    with pytest.raises(GraphChangedError) as caught:
        graph.execute({}, run_id="r", if_exists="resume")
    assert RAN == []
    assert "graph.resume('r', on_change='continue')" in str(caught.value)  # execute has no on_change
    assert graph.plan("r").refusal is not None
    assert "graph.resume" not in str(graph.plan("r").refusal)


async def test_an_async_resume_judges_alike(store: Store) -> None:
    failed_run(store)
    graph = build(store, code={"b": "other"})
    with pytest.raises(GraphChangedError):
        await graph.aresume("r")
    assert (await graph.aresume("r", on_change="continue"))["path"] == [*DONE, "d", "e"]


def test_a_change_once_accepted_is_not_asked_about_again_but_going_back_is(store: Store) -> None:
    failed_run(store)
    FAILING.add("d")
    edited = build(store, code={"b": "other"})
    with pytest.raises(ExecutionError):
        edited.resume("r", on_change="continue")
    with pytest.raises(GraphChangedError, match="finished node 'b' changed"):
        build(store).resume("r")
    FAILING.clear()
    recorder = Recorder()
    assert build(store, observer=recorder, code={"b": "other"}).resume("r")["path"] == [*DONE, "d", "e"]
    assert changed(recorder) == []


def test_a_node_that_was_dropped_with_consent_and_comes_back_counts_as_new(store: Store) -> None:
    failed_run(store)
    FAILING.add("d")
    with pytest.raises(ExecutionError):
        build(store, **REFUSED["a finished node is removed"].edited).resume("r", on_change="continue")
    FAILING.clear()
    recorder = Recorder()
    build(store, observer=recorder, code={"a": "other"}).resume("r")
    (told,) = changed(recorder)
    assert "node 'a' is new" in told["changes"]


def test_before_the_first_node_is_finished_everything_but_the_entry_may_change(store: Store) -> None:
    FAILING.add("a")
    with pytest.raises(ExecutionError):
        build(store).execute({}, run_id="r")
    FAILING.clear()
    RAN.clear()
    with pytest.raises(GraphChangedError, match="the node to run next, 'a', is gone"):
        build(store, **REFUSED["a finished node is removed"].edited).resume("r")
    graph = build(store, code={"a": "other", "b": "x"}, exits="b")
    assert "node 'a', which comes next, changed" in graph.plan("r").notes
    assert graph.resume("r")["path"] == ["other", "x"]


def test_a_run_without_an_edge_that_holds_is_judged_too(store: Store) -> None:
    stuck = {"routes": [("a", "b", None), ("b", "c", None), ("c", "d", lambda state: False), ("d", "e", None)]}
    options = {**stuck, "exits": "e"}
    with pytest.raises(ExecutionError, match="no valid transition from node c"):
        build(store, **options).execute({}, run_id="r")
    RAN.clear()
    with pytest.raises(GraphChangedError, match="finished node 'b' changed"):
        build(store, **options, code={"b": "other"}).resume("r")
    options["routes"] = [("a", "b", None), ("b", "c", None), ("c", "d", None), ("d", "e", None)]
    assert build(store, **options).plan("r").pending is None
    assert build(store, **options).resume("r")["path"] == ["a", "b", "c", "d", "e"]
    assert RAN == ["d", "e"]


# A finished run: its result must not be given out as that of another graph.


@pytest.mark.parametrize("name", REFUSED)
def test_the_result_of_a_finished_run_is_not_given_out_for_a_graph_that_would_not_have_made_it(
    store: Store, name: str
) -> None:
    made = build(store).execute({}, run_id="r")
    RAN.clear()
    recorder = Recorder()
    graph = build(store, observer=recorder, **REFUSED[name].edited)
    before, plan = everything(store), graph.plan("r")
    assert not plan.can_resume
    with pytest.raises(GraphChangedError) as caught:
        graph.resume("r")
    assert caught.value.changes == plan.blocking
    with pytest.raises(GraphChangedError):
        graph.execute({}, run_id="r", if_exists="resume")
    assert dict(graph.resume("r", on_change="continue")) == dict(made)
    assert [told["changes"] for told in changed(recorder)] == [[*plan.blocking, *plan.notes]]
    assert (everything(store), RAN) == (before, [])


def test_the_result_of_a_finished_run_is_given_out_again_for_the_same_graph(store: Store) -> None:
    made = build(store).execute({}, run_id="r")
    recorder = Recorder()
    assert dict(build(store, observer=recorder).resume("r")) == dict(made)
    assert changed(recorder) == []


# Finished items inside the node in flight.


def with_items(store: Store, count: int) -> None:
    """As a node leaves it that finished so many items and then was stopped."""
    host = Host()
    journal = Journal(store, "r", host, host.owner(0.0), interval=1)
    found = journal.look(journal.watch(0.0, None))
    assert found is not None
    assert found.progress is not None
    items = [Item(name="page", key=str(number)) for number in range(count)]
    found.progress.status = "interrupted"
    records = (*items, Interrupted(node="d", reason="test"))
    batch = journal.prepare(Append(records, found.progress, found.values, flush=True, expected=found.position))
    assert batch is not None
    journal.settle(batch, store.committer.commit(batch))


def steps_of(store: Store) -> int:
    progress = load(store, "r")[0].progress
    assert progress is not None
    return progress.items


@pytest.mark.parametrize(("on_change", "left"), [("continue", 3), ("redo", 0)])
def test_a_changed_node_with_finished_items_keeps_or_drops_them_as_told(
    store: Store, on_change: str, left: int
) -> None:
    failed_run(store)
    with_items(store, 3)
    assert steps_of(store) == 3
    graph = build(store, code={"d": "other"})
    with pytest.raises(GraphChangedError, match="steps or files are finished already, changed") as caught:
        graph.resume("r")
    assert caught.value.changes == graph.plan("r").blocking
    FAILING.add("other")
    with pytest.raises(ExecutionError, match="other broke"):
        graph.resume("r", on_change=on_change)
    assert steps_of(store) == left
    assert claims(store)[-1].on_change == on_change
    FAILING.clear()
    assert graph.resume("r")["path"] == [*DONE, "other", "e"]


@pytest.mark.parametrize(("on_change", "final"), [("continue", 12), ("redo", 21)])
def test_a_node_of_a_loop_that_is_edited_in_flight_may_be_done_anew(store: Store, on_change: Any, final: int) -> None:
    """Only "continue" was offered, which mixed steps of the old code with the new code."""

    def before(state: State, ctx: Context) -> dict[str, int]:
        number = ctx.step("number", lambda: 1)
        if ctx.visit == 2:
            raise ValueError("broke")
        return {"sum": number}

    def edited(state: State, ctx: Context) -> dict[str, int]:
        return {"sum": state["sum"] + ctx.step("number", lambda: 10) + 10}

    def loop(node: Any) -> StateGraph:
        graph = StateGraph(config(store))
        graph.add_node("add", node)
        graph.add_node("end", lambda state: None, version="1")
        graph.add_edge("add", "add", key_equals("sum", 1))
        graph.add_edge("add", "end")
        graph.set_entry_point("add")
        graph.set_exit_point("end")
        return graph

    with pytest.raises(ExecutionError, match="broke"):
        loop(before).execute({}, run_id="r")
    with pytest.raises(GraphChangedError) as caught:
        loop(edited).resume("r")
    assert any(way.startswith("on_change='redo'") for way in caught.value.ways)
    assert loop(edited).resume("r", on_change=on_change)["sum"] == final


def test_an_unchanged_node_keeps_its_finished_items(store: Store) -> None:
    failed_run(store)
    with_items(store, 3)
    FAILING.add("d")
    recorder = Recorder()
    graph = build(store, observer=recorder)
    with pytest.raises(ExecutionError, match="d broke"):
        graph.resume("r")
    assert (steps_of(store), changed(recorder)) == (3, [])


@pytest.mark.parametrize("on_change", ["error", "continue", "redo"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_run_of_another_graph_is_never_taken_for_one_of_this(store: Store, finished: bool, on_change: Any) -> None:
    other = StateGraph(config(store, name="other"))
    other.add_node("first", lambda state: {"answer": "of the other"}, version="1")
    other.add_node("last", lambda state: 1 / int(finished) and None, version="1")
    other.sequence("first", "last")
    with nullcontext() if finished else pytest.raises(ExecutionError):
        other.execute({}, run_id="r")
    before = everything(store)
    graph = StateGraph(config(store))
    graph.add_node("first", lambda state: {"answer": "of this"}, version="2")
    graph.add_node("last", lambda state: None, version="1")
    graph.sequence("first", "last")
    tries: list[Any] = [lambda: graph.resume("r", on_change=on_change)]
    if on_change == "error":
        tries.append(lambda: graph.execute({}, run_id="r", if_exists="resume"))
    for attempt in tries:
        with pytest.raises(
            GraphChangedError, match="cannot be resumed with this graph:\n- the run belongs to"
        ) as caught:
            attempt()
        assert not [way for way in (*caught.value.ways, str(caught.value)) if "on_change" in way]
    assert not graph.plan("r", on_change=on_change).can_resume
    assert everything(store) == before
    renamed = StateGraph(config(store, name="other"))
    renamed.add_node("first", lambda state: {"answer": "of this"}, version="2")
    renamed.add_node("last", lambda state: None, version="1")
    renamed.sequence("first", "last")
    assert renamed.resume("r", on_change="continue")["answer"] == "of the other"
