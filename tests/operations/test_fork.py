"""A fork goes on from where another run was, and is its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from keeping import GIVEN, LONG, Cut, Killed, asking, failed, pipeline, plain

import tau
from tau import (
    CheckpointNotFoundError,
    ConfigError,
    ExecutionError,
    GraphChangedError,
    RunExistsError,
    RunFinishedError,
    RunWaitingError,
    SchemaError,
    StateGraph,
    branches_node,
)
from tau.errors import ArtifactError, UnserializableError
from tau.log import incoming
from tau.log.encoding import unseal
from tau.log.records import Admitted, Claimed, Interrupted, Item
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore


def records(store: Store, run_id: str) -> list[Any]:
    return [unseal(run_id, position, data) for position, data in store.read(run_id)]


def test_a_fork_of_a_failed_run_keeps_what_is_finished(store: Store, tmp_path: Path) -> None:
    """Nodes and items; the first run stays as it is."""
    failed(store, tmp_path)
    before = store.read("r"), store.summary("r")
    calls = []

    def analyze(state: Any, ctx: tau.Context) -> dict[str, Any]:
        fits = [ctx.step(f"fit {number}", lambda: calls.append("fit")) for number in range(3)]
        return {"fits": fits}

    graph = pipeline(store, tmp_path, analyze=analyze, ingest=lambda state: calls.append("ingest"))
    new = graph.fork("r", new_run_id="s")
    assert new == "s"
    assert (store.read("r"), store.summary("r")) == before
    summary = store.summary("s")
    assert summary is not None
    assert (summary.status, summary.node, summary.iterations, summary.tags) == (
        "interrupted", "preprocess", 2, ("monthly",),
    )  # fmt: skip
    assert tau.verify(store).damage == ()
    final = graph.resume("s")
    assert calls == []
    assert final["fits"][0] == [LONG, 0]
    assert final["text"] == "3 fits of 1958"
    assert pipeline(store, tmp_path).resume("r")["text"] == final["text"]
    first, claimed = records(store, "s")[:2]
    assert isinstance(first, Admitted)
    assert isinstance(claimed, Claimed)
    assert first.manifest is not None
    assert first.manifest.progress.parent == "r"
    assert first.provenance
    assert claimed.owner is None
    assert any("analyze" in change for change in claimed.changes)
    assert any("ingest" in change for change in claimed.changes)


def test_the_seed_visits_and_iterations_go_on(store: Store) -> None:
    seen: dict[str, list[int]] = {}

    def step(state: Any, ctx: tau.Context) -> dict[str, Any]:
        seen.setdefault(ctx.run_id, []).append(ctx.seed("x"))
        assert ctx.visit == state["n"] + 1
        return {"n": state["n"] + 1}

    graph = StateGraph("loop", store=store)
    graph.add_node("step", step)
    graph.add_edge("step", "step", tau.not_(tau.key_equals("n", 6)))
    graph.add_edge("step", "end", tau.key_equals("n", 6))
    graph.add_node("end", lambda state: None)
    graph.set_entry_point("step")
    graph.set_exit_point("end")
    graph.execute({"n": 0}, run_id="r")
    third = graph.history("r")[2]
    graph.fork("r", at=third.seq, new_run_id="s")
    assert graph.resume("s")["n"] == 6
    assert seen["s"] == seen["r"][3:]
    summary = store.summary("s")
    assert summary is not None
    assert summary.iterations == 7


def test_a_fork_at_an_entry_has_the_state_of_then(store: Store, tmp_path: Path) -> None:
    graph = pipeline(store, tmp_path)
    graph.execute(GIVEN, run_id="r")
    for one in graph.history("r"):
        graph.fork("r", at=one.seq, new_run_id=one.node)
        assert plain(store.load(one.node)) == plain(one.state)
        assert store.load(one.node).checkpoint_node == one.node
        final = graph.resume(one.node)
        assert plain(final) == plain(store.load("r"))
    graph.fork("r", at=store.read("r")[0][0], new_run_id="begin")
    assert dict(store.load("begin")) == GIVEN
    assert plain(graph.resume("begin")) == plain(store.load("r"))
    assert tau.verify(store).damage == ()


def test_changes_are_set_and_the_edges_asked_anew(store: Store) -> None:
    graph = StateGraph("choice", store=store)
    graph.add_node("look", lambda state: {"seen": True})
    graph.add_node("good", lambda state: {"end": "good"})
    graph.add_node("bad", lambda state: {"end": "bad"})
    graph.add_edge("look", "good", tau.key_equals("valid", True))
    graph.add_edge("look", "bad")
    graph.set_entry_point("look")
    graph.set_exit_point("good")
    graph.set_exit_point("bad")
    assert graph.execute({"valid": False}, run_id="r")["end"] == "bad"
    (first, _) = graph.history("r")
    assert graph.resume(graph.fork("r", at=first.seq))["end"] == "bad"
    changed = graph.fork("r", at=first.seq, changes={"valid": True, "long": "x" * 5000})
    final = graph.resume(changed)
    assert (final["end"], final["long"]) == ("good", "x" * 5000)
    assert dict(store.load("r")) == {"valid": False, "seen": True, "end": "bad"}
    assert tau.verify(store).damage == ()


def test_items_are_taken_from_the_newest_point_only_and_without_changes(store: Store, tmp_path: Path) -> None:
    failed(store, tmp_path)
    graph = pipeline(store, tmp_path)
    last = store.read("r")[-1][0]
    kept = {"fit 0", "fit 1", "fit 2", "plots"}

    def items(run_id: str) -> set[str]:
        return {one.name for one in records(store, run_id) if isinstance(one, Item)}

    assert items(graph.fork("r")) == items(graph.fork("r", at=last)) == kept
    assert items(graph.fork("r", at=last - 1)) == set()
    assert items(graph.fork("r", changes={"start": 1})) == set()
    assert graph.resume(graph.fork("r", changes={"start": 1}))["text"] == "3 fits of 1"


def test_deleting_either_hurts_neither(store: Store, tmp_path: Path) -> None:
    failed(store, tmp_path)
    graph = pipeline(store, tmp_path)
    graph.fork("r", new_run_id="s")
    graph.fork("r", new_run_id="t")
    paths = {run_id: store.load(run_id)["clean.nc"].path for run_id in "rst"}
    assert len(set(paths.values())) == 3
    assert len({path.stat().st_ino for path in paths.values()}) == 1  # no disk is taken
    store.delete("r")
    paths["r"].unlink()  # which a configured place keeps
    assert tau.verify(store).sound
    graph.resume("s")["clean.nc"].check()
    store.delete("s")
    assert tau.verify(store, "t").sound
    assert graph.resume("t")["text"]


def test_a_nested_reference_leads_to_the_files_of_the_fork(store: Store, tmp_path: Path) -> None:
    graph = pipeline(store, tmp_path)
    graph.execute(GIVEN, run_id="r")
    graph.fork("r", new_run_id="s")
    state = store.load("s")
    assert state["both"]["files"] == [state["clean.nc"]]
    assert state["clean.nc"].path != store.load("r")["clean.nc"].path


def test_a_question_is_asked_anew(store: Store) -> None:
    """One that waits, and one that was answered meanwhile."""
    graph = asking(store)
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    graph.fork("r", new_run_id="s")
    graph.answer("r", "review", "yes", changes={"draft": "edited"})
    graph.fork("r", new_run_id="t")
    for run_id in "st":
        assert store.load(run_id)["draft"] == LONG
        with pytest.raises(RunWaitingError):
            graph.resume(run_id)
        assert graph.resume(run_id, answers={"review": "no"})["sent"] == "no"
    assert graph.resume("r")["sent"] == "yes"
    assert tau.verify(store).damage == ()


def test_branches_that_are_finished_are_not_run_again(store: Store) -> None:
    calls = []

    def inner(name: str, broken: bool) -> StateGraph:
        made = StateGraph(name)

        def first(state: Any, ctx: tau.Context) -> dict[str, Any]:
            calls.append(f"{name} first")
            return {name: ctx.step("s", lambda: "x" * 600)}

        def second(state: Any, ctx: tau.Context) -> dict[str, Any]:
            calls.append(f"{name} second")
            ctx.step("item", lambda: calls.append(f"{name} item"))
            if broken and len(calls) < 7:
                raise ValueError("no")
            return {name: state[name] + "!"}

        made.add_node("first", first)
        made.add_node("second", second)
        made.sequence("first", "second")
        return made

    graph = StateGraph("outer", store=store)
    graph.add_node("both", branches_node({"a": inner("a", False), "b": inner("b", True)}))
    graph.sequence("both")
    with pytest.raises(ExecutionError):
        graph.execute({}, run_id="r")
    done = len(calls)
    graph.fork("r", new_run_id="s")
    assert tau.verify(store).damage == ()
    final = graph.resume("s")
    assert calls[done:] == ["b second"]
    assert (final["a"], final["b"]) == ("x" * 600 + "!",) * 2
    graph.fork("s", new_run_id="t")
    assert dict(store.load("t")) == dict(final)


def test_a_graph_that_changed_is_recorded_and_not_refused(store: Store, tmp_path: Path) -> None:
    """Where a resume of the run itself is refused; where its next node is gone, the edges are asked."""
    failed(store, tmp_path)
    other = StateGraph(tau.GraphConfig("climate", checkpoint=pipeline(store, tmp_path).config.checkpoint))
    other.add_node("ingest", lambda state: {"raw": 1})
    other.add_node("preprocess", lambda state: {"x": 1})
    other.add_node("describe", lambda state: {"text": "described"})
    other.sequence("ingest", "preprocess", "describe")
    with pytest.raises(GraphChangedError):
        other.resume("r")
    other.fork("r", new_run_id="s")
    assert other.resume("s")["text"] == "described"
    claimed = records(store, "s")[1]
    assert any("'ingest' changed" in change for change in claimed.changes)
    foreign = StateGraph("other", store=store)
    foreign.add_node("only", lambda state: None)
    foreign.sequence("only")
    with pytest.raises(GraphChangedError, match="belongs to graph 'climate'"):
        foreign.fork("r")


def test_a_fork_of_a_finished_run_is_finished_by_a_resume(store: Store, tmp_path: Path) -> None:
    graph = pipeline(store, tmp_path)
    final = graph.execute(GIVEN, run_id="r")
    graph.fork("r", new_run_id="s")
    assert plain(graph.resume("s")) == plain(final)
    with pytest.raises(RunExistsError):
        graph.fork("r", new_run_id="r")
    assert graph.fork("r") != graph.fork("r")


def test_a_run_may_be_at_work_while_it_is_forked(store: Store, tmp_path: Path) -> None:
    forked = []

    def analyze(state: Any, ctx: tau.Context) -> dict[str, Any]:
        ctx.step("fit", lambda: [LONG])
        if ctx.run_id == "r":
            forked.append(graph.fork("r"))
        return {"fits": [1, 2]}

    graph = pipeline(store, tmp_path, analyze=analyze)
    final = graph.execute(GIVEN, run_id="r")
    assert plain(graph.resume(forked[0])) == plain(final)
    assert sum(isinstance(one, Item) and one.name == "fit" for one in records(store, forked[0])) == 1
    assert tau.verify(store).damage == ()


def test_what_cannot_be_forked_is_refused(store: Store, tmp_path: Path) -> None:
    graph = pipeline(store, tmp_path)
    with pytest.raises(CheckpointNotFoundError):
        graph.fork("r")
    graph.execute(GIVEN, run_id="r")
    last = store.read("r")[-1][0]
    with pytest.raises(ConfigError, match="has no readable entry"):
        graph.fork("r", at=last + 1)
    for wrong in (0, -1, 1.5, True, "3"):
        with pytest.raises(ConfigError, match="at is an entry"):
            graph.fork("r", at=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="changes"):
        graph.fork("r", changes=["x"])  # type: ignore[arg-type]
    with pytest.raises(UnserializableError):
        graph.fork("r", changes={"x": object()})
    assert store.list() == ["r"]
    final = store.load("r")
    final["clean.nc"].path.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        graph.fork("r")
    store.delete("r", keep_summary=True)
    with pytest.raises(RunFinishedError):
        graph.fork("r")
    assert store.list() == []


@dataclass
class Model:
    start: int = 0
    text: str = ""


def test_changes_fit_the_schema(store: Store) -> None:
    graph = StateGraph("typed", schema=Model, store=store)
    graph.add_node("only", lambda state: {"text": f"{state['start']}"})
    graph.sequence("only")
    graph.execute({"start": 1}, run_id="r")
    first = store.read("r")[0][0]
    with pytest.raises(SchemaError):
        graph.fork("r", at=first, changes={"start": "many"})
    with pytest.raises(SchemaError):
        graph.fork("r", at=first, changes={"other": 1})
    assert graph.resume(graph.fork("r", at=first, changes={"start": 7})).typed == Model(7, "7")


def test_values_that_do_not_fit_a_new_schema_are_found_by_the_resume(store: Store) -> None:
    plain_graph = StateGraph("typed", store=store)
    plain_graph.add_node("only", lambda state: None)
    plain_graph.sequence("only")
    plain_graph.execute({"start": "many"}, run_id="r")
    graph = StateGraph("typed", schema=Model, store=store)
    graph.add_node("only", lambda state: None)
    graph.sequence("only")
    forked = graph.fork("r", at=store.read("r")[0][0])
    with pytest.raises(GraphChangedError, match="start"):
        graph.resume(forked)
    assert graph.resume(graph.fork(forked, changes={"start": 1}))["start"] == 1


@pytest.mark.parametrize("deleted", [False, True])
def test_a_killed_fork_is_not_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    """Before and after each of its commits; the same fork then succeeds."""
    monkeypatch.setattr(incoming, "PART", 1000)
    failed(store, tmp_path)
    if deleted:
        store.save(tau.State({"x": 1}, run_id="s"))
        store.delete("s")
    at, killed = 0, True
    while killed:
        at += 1
        for after in (False, True):
            killed = False
            try:
                pipeline(Cut(store, at, after), tmp_path).fork("r", new_run_id="s")
            except Killed:
                killed = True
                there = "s" in store.list()
                assert not there or (after and tau.verify(store, "s").sound)
                if not there:
                    pipeline(store, tmp_path).fork("r", new_run_id="s")
            assert tau.verify(store).damage == ()
            assert any(isinstance(one, Interrupted) for one in records(store, "s"))
            store.delete("s")
    assert at > 2
    assert pipeline(store, tmp_path).resume("r")["text"]


def test_a_run_that_is_deleted_meanwhile_is_not_forked(tmp_path: Path) -> None:
    class Deleting(Cut):
        def blobs(self, run_id: str, digests: Any) -> Any:
            self.store.delete(run_id)
            return super().blobs(run_id, digests)

    inner = MemoryStore()
    failed(inner, tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="deleted while"):
        pipeline(Deleting(inner, 0, False), tmp_path).fork("r", new_run_id="s")
    assert inner.list() == []
    assert not list((tmp_path / "artifacts").rglob("r-s/**/*.nc"))


def test_a_run_with_damage_at_its_end_is_forked_from_before_it(tmp_path: Path) -> None:
    class Damaged(Cut):
        def read(self, run_id: str, after: int = 0) -> Any:
            rows = super().read(run_id, after)
            return [*rows[:-1], (rows[-1][0], rows[-1][1][:-1])] if run_id == "r" else rows

        def scan(self, run_id: str, after: int = 0) -> Any:
            return iter(self.read(run_id, after))

    store = Damaged(MemoryStore(), 0, False)
    failed(store.store, tmp_path)
    graph = pipeline(store, tmp_path)
    graph.fork("r", new_run_id="s")
    assert tau.verify(store, "s").sound
    assert graph.resume("s")["text"]
