"""A plan tells the truth: it refuses when a resume would, with that resume's error, and changes nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from engine_steps import Steps, config

from tau import Context, ExecutionError, StateGraph, TauError
from tau.host import Host
from tau.log.append import Append
from tau.log.journal import Journal
from tau.log.records import Pause
from tau.stores.contract import Store


def check_refused(graph: StateGraph, kind: str, **options: Any) -> None:
    """The plan names the very error that the resume then raises."""
    before = everything(graph.store)
    plan = graph.plan("r", **options)
    assert everything(graph.store) == before
    with pytest.raises(TauError) as caught:
        graph.resume("r", **options)
    assert not plan.can_resume
    assert (type(plan.refusal).__name__, str(plan.refusal)) == (kind, str(caught.value))
    assert type(caught.value) is type(plan.refusal)
    assert everything(graph.store) == before
    assert "cannot be resumed" in plan._repr_html_()


def everything(store: Store) -> Any:
    return store.summary("r"), store.read("r")


def failed(store: Store, **options: Any) -> Steps:
    """A run that broke at its second node, which is whole now."""
    steps = Steps(store, **options)
    steps.failing = {"b"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    steps.failing = set()
    return steps


def test_a_run_that_goes_on(store: Store) -> None:
    steps = failed(store)
    plan = steps.build().plan("r")
    assert (plan.can_resume, plan.refusal, plan.obstacles) == (True, None, ())
    steps.build().resume("r")
    assert (plan.pending, steps.ran) == ("b", ["a", "b", "b", "c", "d"])


def test_a_run_that_somebody_works_on(store: Store) -> None:
    steps = Steps(store)
    steps.during["b"] = lambda: check_refused(steps.build(), "RunOwnedError")
    steps.graph.execute({}, run_id="r")
    assert steps.ran == list("abcd")
    assert steps.build().plan("r").can_resume


def test_a_run_that_waits_for_an_answer(store: Store) -> None:
    steps = failed(store)
    host = Host()
    journal = Journal(store, "r", host, host.owner(0.0), interval=1)
    found = journal.look(None)
    assert found is not None
    assert found.progress is not None
    found.progress.status = "waiting"
    asked = Append((Pause(name="go on?"),), found.progress, found.values, flush=True, expected=found.position)
    batch = journal.prepare(asked)
    assert batch is not None
    assert isinstance(store.committer.commit(batch), int)
    check_refused(steps.build(), "RunWaitingError")
    check_refused(steps.build(), "RunWaitingError", on_change="continue")


def test_a_run_that_was_cancelled(store: Store) -> None:
    steps = failed(store)
    steps.graph.cancel("r")
    check_refused(steps.build(), "RunCancelledError")


def test_a_run_whose_checkpoints_are_gone(store: Store) -> None:
    steps = Steps(store, preserve=False)
    steps.graph.execute({}, run_id="r")
    check_refused(steps.build(), "RunFinishedError")


def test_a_run_that_was_deleted_or_never_was(store: Store) -> None:
    steps = failed(store)
    store.delete("r")
    for run_id in ("r", "never"):
        with pytest.raises(TauError) as planned:
            steps.build().plan(run_id)
        with pytest.raises(TauError) as resumed:
            steps.build().resume(run_id)
        assert (type(planned.value), str(planned.value)) == (type(resumed.value), str(resumed.value))


def test_a_changed_graph_for_each_choice(store: Store) -> None:
    steps = failed(store)
    changed = StateGraph(config(store))
    for name in "abcd":
        changed.add_node(name, lambda state: None, version="2")
    changed.sequence(*"abcd")
    check_refused(changed, "GraphChangedError")
    for choice in ("continue", "redo"):
        assert changed.plan("r", on_change=choice).can_resume
    assert set(changed.resume("r", on_change="continue")) == {"a", "path"}
    assert steps.ran == ["a", "b"]


def test_a_node_that_is_gone_whatever_is_chosen(store: Store) -> None:
    failed(store)
    without = StateGraph(config(store))
    for name in "acd":
        without.add_node(name, lambda state: None, version="1")
    without.sequence(*"acd")
    for choice in ("error", "continue", "redo"):
        check_refused(without, "GraphChangedError", on_change=choice)


def test_a_file_of_the_state_that_is_missing(store: Store, tmp_path: Path) -> None:
    def make(state: Any, ctx: Context) -> None:
        with ctx.artifact("clean.nc") as path:
            path.write_text("1 2 3")

    def read(state: Any) -> None:
        if state["clean.nc"].path.exists():
            raise ValueError("not yet")

    graph = StateGraph(config(store, artifacts=str(tmp_path / "files")))
    graph.add_node("make", make)
    graph.add_node("read", read)
    graph.sequence("make", "read")
    with pytest.raises(ExecutionError):
        graph.execute({}, run_id="r")
    assert graph.plan("r").can_resume
    store.load("r")["clean.nc"].path.unlink()
    check_refused(graph, "ArtifactError")


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_a_run_that_kills_its_process_again_and_again(kind: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db" if kind == "sqlite" else f"file://{tmp_path}/runs"
    script = tmp_path / "poison.py"
    script.write_text(
        textwrap.dedent(f"""
        import os
        from tau import CheckpointConfig, GraphConfig, StateGraph
        graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(
            store={url!r}, interval=1, preserve=True, max_crashes=1)))
        @graph.node
        def poison(state):
            os._exit(9)
        graph.sequence(poison)
        if "r" not in graph.store.list():
            graph.execute({{}}, run_id="r")
        plan = graph.plan("r")
        print(plan.can_resume, plan.refusal, flush=True)
        try:
            graph.resume("r")
        except Exception as error:
            print(type(error).__name__, str(error) == str(plan.refusal), type(error) is type(plan.refusal))
        """)
    )
    said = [
        subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False).stdout.splitlines()
        for _ in range(3)
    ]
    assert said[:2] == [[], ["True None"]]
    assert said[2][0].startswith(
        "False run 'r' was killed 2 times in a row at node 'poison', the limit is 1, so it fails; find out"
    )
    assert said[2][1] == "LimitExceededError True True"
