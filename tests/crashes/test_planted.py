"""Faults that a crash test must find: each of its checks can fail."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tau import Context, State, StateGraph
from tau.stores.contract import Batch
from tau.stores.sqlite import SQLiteStore, statements
from tau.testing import CrashTestError, crash_test
from tau.testing.store_wrappers import StoreWrapper


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def graph_of(**nodes: Callable[..., Any]) -> StateGraph:
    graph = StateGraph("g")
    for name, node in nodes.items():
        graph.add_node(name, node, version="1")
    graph.sequence(*nodes)
    return graph


def kinds(graph: StateGraph, **options: Any) -> dict[str, list[str]]:
    """What is found, by kind."""
    found: dict[str, list[str]] = {}
    for one in crash_test(graph, check=False, **options).findings:
        found.setdefault(one.kind, []).append(f"{one.point} {one.what}")
    return found


def note(line: str) -> None:
    with open(os.environ["TAU_EFFECTS"], "a") as file:
        file.write(line + "\n")


def first(state: State) -> dict[str, Any]:
    return {"a": 1}


# Effects


def test_an_effect_of_a_step_that_is_made_outside_of_it() -> None:
    """It comes again with every attempt at the node, also for steps that are finished."""

    def mails(state: State, ctx: Context) -> dict[str, Any]:
        for name in ("ann", "ben"):
            ctx.step(name, str.upper, name)
            note(f"{ctx.key}/{name} mailed")
        return {"mailed": 2}

    found = kinds(graph_of(mails=mails), points=3)
    assert found.keys() == {"effect"}
    said = "an effect of item ann of node mails, which was finished, came again"
    assert any(said in one for one in found["effect"])

    def right(state: State, ctx: Context) -> dict[str, Any]:
        for name in ("ann", "ben"):
            ctx.step(name, note, f"{ctx.key}/{name} mailed")
        return {"mailed": 2}

    assert kinds(graph_of(mails=right), points=3) == {}


def test_an_effect_of_a_finished_node_that_another_one_makes_again() -> None:
    def pays(state: State, ctx: Context) -> dict[str, Any]:
        note(f"{ctx.key} paid")
        return {"key": ctx.key}

    def pays_again(state: State) -> dict[str, Any]:
        note(f"{state['key']} paid")
        return {"done": True}

    found = kinds(graph_of(pays=pays, pays_again=pays_again), points=3)
    assert found.keys() == {"effect"}
    assert "an effect of node pays, visit 1, which was finished, came again" in found["effect"][0]


def test_an_effect_of_the_node_in_flight_may_come_again() -> None:
    """With its key, by which the other side knows it."""

    def pays(state: State, ctx: Context) -> dict[str, Any]:
        note(f"{ctx.key} paid")
        return {"paid": True}

    result = crash_test(graph_of(a=first, pays=pays), points=3)
    assert result.findings == []


# The final state


def test_a_result_that_depends_on_whether_the_run_was_resumed() -> None:
    """What a node keeps in its process is not there in the next one."""
    seen: list[str] = []

    def reads(state: State) -> dict[str, Any]:
        seen.append("reads")
        return {"a": 1}

    def counts(state: State) -> dict[str, Any]:
        return {"in_this_process": len(seen)}

    found = kinds(graph_of(reads=reads, counts=counts), points=3)
    assert found.keys() == {"state"}
    assert all("the final state differs: in_this_process is another" in one for one in found["state"])


def test_a_result_that_depends_on_time_though_it_looks_stable() -> None:
    """Two undisturbed runs are alike: the clock is asked whether much time went by since the run began."""

    def attempts(state: State, ctx: Context) -> dict[str, Any]:
        return {"late": ctx.attempt > 1}

    found = kinds(graph_of(a=first, attempts=attempts), points=2)
    assert found.keys() == {"state"}


# Ctrl-C


def test_a_node_that_keeps_ctrl_c_to_itself() -> None:
    def careless(state: State) -> dict[str, Any]:
        try:
            value = sum(range(100))
        except BaseException:
            value = 0
        return {"value": value}

    found = kinds(graph_of(a=first, careless=careless), points=2)
    assert found.keys() == {"kept", "state"}
    assert found["kept"] == ["ctrl-c:careless node careless kept Ctrl-C to itself: the run went on to its end"]

    def careless_too(state: State) -> dict[str, Any]:
        for _ in range(2):
            try:
                value = sum(range(100))
            except BaseException as error:
                raise ValueError("something went wrong") from error
        return {"value": value}

    found = kinds(graph_of(a=first, careless=careless_too), at=["ctrl-c:careless"])
    assert "node careless kept Ctrl-C to itself: the run raised ExecutionError" in found["kept"][0]


# Stores


class Wrong(StoreWrapper):
    """A store of a user's own, at fault from its third commit on."""

    def __init__(self, place: Path) -> None:
        super().__init__(SQLiteStore(place / "store"))
        self.count = itertools.count(1)


class Lying(Wrong):
    """Acknowledges without writing."""

    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        if next(self.count) < 3:
            return super().commit(batches)
        return [batch.summary.position for batch in batches]


class InTwo(Wrong):
    """Writes the large values of a commit in a transaction of their own, after the records that need them."""

    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        results = super().commit([replace(batch, blobs=()) for batch in batches])
        assert isinstance(self.store, SQLiteStore)
        for batch in batches:
            self.store._connections.write("commit to", partial(self._keep, batch))
        return results

    def _keep(self, batch: Batch, connection: Any) -> None:
        for digest, data in batch.blobs:
            (run,) = connection.execute("select id from runs where run_id = ?", (batch.run_id,)).fetchone()
            connection.execute(statements.KEEP, (run, digest, data))


def test_a_store_that_acknowledges_without_writing() -> None:
    found = kinds(graph_of(a=first, b=first, c=first), store=Lying, points=3)
    assert "lost" in found
    assert any("the store had acknowledged what it does not hold: positions 4" in one for one in found["lost"])


class Forgetting(Wrong):
    """Loses a large value of each commit."""

    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        return super().commit([replace(batch, blobs=batch.blobs[1:]) for batch in batches])


def large(state: State) -> dict[str, Any]:
    return {"large": bytes(range(256)) * 100}


def uses(state: State) -> dict[str, Any]:
    return {"sum": sum(state["large"])}


def test_a_store_that_loses_values() -> None:
    """The process that made them has them at hand; the next one does not."""
    found = kinds(graph_of(large=large, uses=uses), store=Forgetting, points=3)
    assert found.keys() == {"resume"}
    assert any("CorruptCheckpointError" in one for one in found["resume"])


def test_a_store_whose_commit_is_two() -> None:
    """Only a kill inside of a commit shows it."""
    found = kinds(graph_of(large=large, uses=uses), store=InTwo, points=None)
    assert found.keys() == {"resume"}
    assert {one.partition(":")[0] for one in found["resume"]} == {"inside"}


# Processes


def test_a_resumed_run_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from tau.testing.crashes import crash_test as module

    monkeypatch.setattr(module, "LEAST_LIMIT", 1.0)
    monkeypatch.setattr(module, "TIMES_SLOWER", 0.0)

    def waits(state: State, ctx: Context) -> dict[str, Any]:
        if ctx.attempt > 1:
            threading.Event().wait()
        return {"a": 1}

    found = kinds(graph_of(waits=waits), at=["before:2"])
    assert found == {"hang": ["before:2 the resumed process did not end in time"]}


def test_a_process_that_ends_before_it_is_killed(tmp_path: Path) -> None:
    """As where the work of a run does not depend on its input alone."""
    marks = tmp_path / "marks"

    def leaves(state: State) -> dict[str, Any]:
        with marks.open("a") as file:
            file.write("x")
        if marks.stat().st_size == 3:
            os._exit(3)
        return {"a": 1}

    found = kinds(graph_of(leaves=leaves), at=["after:2"])
    assert found == {"ended": ["after:2 the process ended before it was killed (signal 0, exit code 3)"]}


def test_what_is_found_is_raised_with_the_call_that_shows_it_again() -> None:
    def attempts(state: State, ctx: Context) -> dict[str, Any]:
        return {"late": ctx.attempt > 1}

    with pytest.raises(
        CrashTestError, match=r"killed before commit 2: .*late is another\n.*again: crash_test\("
    ) as caught:
        crash_test(graph_of(attempts=attempts), at=["before:2"])
    assert caught.value.result.findings[0].point == "before:2"
    assert isinstance(caught.value, AssertionError)
