"""A run whose log is damaged falls back to its newest sound checkpoint, says so, goes on, and stays readable."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tau import Context, ExecutionError, RunCancelledError, State, StateGraph, open_store
from tau.log.encoding import seal, unseal
from tau.log.records import CheckpointRecord
from tau.observers import Recorder
from tau.stores.contract import Batch, Store


class Bench:
    """A SQLite store, a graph of seven steps in it, and hands that reach behind the library's back."""

    names = "abcdefg"

    def __init__(self, path: Path) -> None:
        self.path = path / "runs.db"
        self.store: Store = open_store(f"sqlite:///{self.path}")
        self.ran: list[str] = []
        self.failing: set[str] = set()
        self.recorder = Recorder()
        self.seen: dict[str, list[datetime]] = {}

    def graph(self, name: str = "bench") -> StateGraph:
        graph = StateGraph(name, store=self.store, observer=self.recorder)
        for node in self.names:
            graph.add_node(node, self._step(node), version="1")
        graph.sequence(*self.names)
        return graph

    def _step(self, node: str) -> Any:
        def step(state: State) -> dict[str, Any]:
            self.ran.append(node)
            self.seen.setdefault(node, []).append(state.timestamp)
            if node in self.failing:
                raise ValueError(f"{node} broke")
            return {"path": [*state.get("path", []), node], "text": state.get("text", "") + node * 1000}

        return step

    def fail_at(self, node: str, run_id: str = "r") -> None:
        self.failing = {node}
        known = self.store.summary(run_id) is not None
        with pytest.raises(ExecutionError):
            self.graph().resume(run_id) if known else self.graph().execute({}, run_id=run_id)
        self.failing = set()
        self.ran.clear()
        self.recorder.clear()

    def position(self, node: str, run_id: str = "r") -> int:
        """That of the newest checkpoint of a node."""
        return max(entry.position for entry in self.graph().history(run_id) if entry.node == node)

    def damage(self, position: int) -> None:
        """Flip a bit in the middle of a record; again, and it is as before."""
        self.store.close()
        with sqlite3.connect(self.path) as connection:
            (record,) = connection.execute("select record from log where position = ?", (position,)).fetchone()
            at = len(record) // 2
            mended = record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]
            connection.execute("update log set record = ? where position = ?", (mended, position))
        connection.close()

    def loaded(self) -> dict[str, Any]:
        return dict(next(event.data for event in self.recorder.events if event.type == "checkpoint.load"))

    def history(self, run_id: str = "r") -> list[tuple[str, list[str]]]:
        return [(entry.node, entry.state["path"]) for entry in self.graph().history(run_id)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


WHOLE = list("abcdefg")


def test_resume_falls_back_to_the_newest_sound_checkpoint_and_says_so(bench: Bench) -> None:
    bench.fail_at("e")
    bench.damage(bench.position("c"))
    final = bench.graph().resume("r")
    assert bench.ran == list("cdefg")
    assert final["path"] == WHOLE
    assert final["text"] == "".join(name * 1000 for name in WHOLE)
    assert bench.loaded()["node"] == "b"
    assert "is damaged: its checksum does not match" in bench.loaded()["damaged"]


def test_what_a_run_did_after_falling_back_can_be_read_again(bench: Bench) -> None:
    bench.fail_at("e")
    bench.damage(bench.position("c"))
    bench.fail_at("f")
    assert bench.history() == [(name, WHOLE[: n + 1]) for n, name in enumerate("abcde")]
    final = bench.graph().resume("r")
    assert bench.ran == ["f", "g"]
    assert "damaged" not in bench.loaded()
    assert final["path"] == WHOLE
    assert bench.history() == [(name, WHOLE[: n + 1]) for n, name in enumerate(WHOLE)]
    assert dict(bench.graph().resume("r")) == dict(final)
    assert dict(bench.store.load("r")) == dict(final)


def test_damage_on_damage_falls_back_again(bench: Bench) -> None:
    bench.fail_at("e")
    bench.damage(bench.position("c"))
    bench.fail_at("f")
    bench.damage(bench.position("e"))
    bench.fail_at("g")
    assert bench.graph().resume("r")["path"] == WHOLE
    assert bench.ran == ["g"]
    assert [node for node, _ in bench.history()] == WHOLE


def test_a_damaged_manifest_falls_back_to_the_one_before(bench: Bench) -> None:
    bench.fail_at("d")
    bench.damage(bench.position("b"))
    bench.fail_at("g")
    summary = bench.store.summary("r")
    assert summary is not None
    assert summary.base > 1
    bench.damage(summary.base)
    assert bench.graph().resume("r")["path"] == WHOLE
    assert bench.ran == list("bcdefg")


def test_a_sound_manifest_after_damage_is_gone_on_from(bench: Bench) -> None:
    """The newest manifest is damaged, and so is a record long before: what lies between is not lost."""
    grow = _growing(bench, upto=200)
    with pytest.raises(ExecutionError):
        grow().execute({"n": 0}, run_id="r")
    manifests = _manifests(bench)
    assert len(manifests) >= 3
    bench.damage(10)
    bench.damage(manifests[-1])
    bench.recorder.clear()
    bench.ran.clear()
    assert grow().resume("r")["n"] == 300
    load = bench.loaded()
    assert "damaged" in load
    assert len(bench.ran) == 300 - (manifests[-1] - 3)


def test_what_was_passed_over_is_never_mixed_with_what_followed(bench: Bench) -> None:
    """A disk may fail to read, and then not: a claim that went back stands, though what it passed over reads well."""
    bench.fail_at("e")
    damaged = bench.position("c")
    bench.damage(damaged)
    bench.fail_at("c")
    bench.fail_at("f")
    bench.damage(damaged)
    final = bench.graph().resume("r")
    assert "goes on from position" in bench.loaded()["damaged"]
    assert final["path"] == WHOLE
    assert final["text"] == "".join(name * 1000 for name in WHOLE)


def test_falling_back_is_no_crash_of_the_node(bench: Bench) -> None:
    bench.fail_at("e")
    bench.damage(bench.position("d"))
    attempts = bench.path.with_name("attempts")

    def die(state: State, context: Context) -> None:
        with attempts.open("a") as file:
            print(context.attempt, file=file)
        os._exit(1)

    graph = StateGraph("bench", store=bench.store)
    for node in bench.names:
        graph.add_node(node, die if node == "d" else bench._step(node), version="1")
    graph.sequence(*bench.names)
    for _ in range(3):
        child = os.fork()
        if not child:
            graph.resume("r")
        os.waitpid(child, 0)
    assert attempts.read_text().split() == ["1", "2", "3"]


def test_a_cancelled_run_stays_cancelled_whatever_is_damaged(bench: Bench) -> None:
    bench.fail_at("e")
    bench.damage(bench.position("c"))
    bench.graph().cancel("r")
    with pytest.raises(RunCancelledError):
        bench.graph().resume("r")
    assert bench.ran == []


def test_a_state_saved_over_damage_is_in_the_history_that_follows(bench: Bench) -> None:
    bench.fail_at("e")
    bench.damage(bench.position("c"))
    bench.store.save(bench.store.load("r").set("path", ["mended"]))
    assert bench.graph().resume("r")["path"] == ["mended", *"cdefg"]
    assert bench.history()[-1] == ("g", ["mended", *"cdefg"])


def test_a_run_that_was_saved_by_hand_can_be_resumed_more_than_once(bench: Bench) -> None:
    State({"x": 1}, run_id="r").checkpoint(bench.store)
    bench.fail_at("c")
    bench.fail_at("e")
    assert bench.graph().resume("r")["path"] == WHOLE


def test_a_run_that_goes_on_under_a_renamed_graph_belongs_to_it(bench: Bench) -> None:
    bench.fail_at("c")
    bench.failing = {"d"}
    with pytest.raises(ExecutionError):
        bench.graph("renamed").resume("r", on_change="continue")
    bench.failing = set()
    assert bench.graph("renamed").resume("r")["path"] == WHOLE


def test_a_resumed_node_sees_the_time_it_would_have_seen(bench: Bench) -> None:
    bench.fail_at("c")
    bench.graph().resume("r")
    first, second = bench.seen["c"]
    assert first == second
    assert [entry.timestamp for entry in bench.graph().history("r")][:-1] == [
        bench.seen[name][-1] for name in WHOLE[1:]
    ]


def test_a_checkpoint_inside_a_node_is_none_of_the_graph(bench: Bench) -> None:
    """Nothing writes one yet; but who can read this format must not take it for one of the graph's own."""
    bench.fail_at("c")
    summary = bench.store.summary("r")
    assert summary is not None
    position = summary.position + 1
    inner = CheckpointRecord(
        position=position, scope=(("c", 1, "branch"),), node="b", visit=7, next="e", removed=("path",)
    )
    batch = Batch("r", position - 1, b"t", (seal("r", inner),), (), replace(summary, position=position))
    assert bench.store.commit([batch]) == [position]
    assert bench.history() == [("a", ["a"]), ("b", ["a", "b"])]
    assert bench.graph().resume("r")["path"] == WHOLE


def _growing(bench: Bench, upto: int) -> Any:
    """A graph with a loop that counts to 300 and fails once on the way."""
    failing = {upto}

    def count(state: State) -> dict[str, Any]:
        bench.ran.append("count")
        if state["n"] in failing:
            failing.clear()
            raise ValueError("stop here")
        return {"n": state["n"] + 1, "digest": hashlib.sha256(str(state["n"]).encode()).hexdigest()}

    def build() -> StateGraph:
        graph = StateGraph("bench", store=bench.store, observer=bench.recorder)
        graph.add_node("count", count, version="1")
        graph.add_node("end", lambda state: None, version="1")
        graph.add_edge("count", "count", lambda state: state["n"] < 300)
        graph.add_edge("count", "end")
        graph.set_entry_point("count")
        graph.set_exit_point("end")
        return graph

    return build


def _manifests(bench: Bench) -> list[int]:
    records = [unseal("r", position, data) for position, data in bench.store.read("r")]
    return [record.position for record in records if getattr(record, "manifest", None) is not None]
