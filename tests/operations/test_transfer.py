"""Runs go into archives and out of them, and from store to store, and go on there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keeping import GIVEN, Cut, Killed, asking, failed, pipeline, plain

import tau
from own_stores import InBytes
from tau import (
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
    RunCancelledError,
    RunExistsError,
    RunOwnedError,
    RunWaitingError,
    StateGraph,
    open_store,
    register_store,
)
from tau.errors import ArtifactError, StoreError, StoreFullError
from tau.log import incoming
from tau.log.encoding import unseal
from tau.log.records import Cancelled
from tau.operations import transfer
from tau.operations.stored_run import StoredRun
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper


def test_a_failed_run_goes_on_where_it_was_imported(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    failed(store, tmp_path)
    done = tau.export_run(store, "r", tmp_path / "r.tau")
    assert (done.status, done.records, done.artifacts, done.missing) == ("failed", len(store.read("r")), 2, ())
    put = tau.import_run(elsewhere, tmp_path / "r.tau", artifacts=tmp_path / "there" / "artifacts")
    assert (put.run_id, put.status, put.records, put.blobs) == ("r", "failed", done.records, done.blobs)
    assert tau.verify(elsewhere).damage == ()
    before, after = store.summary("r"), elsewhere.summary("r")
    assert after == before
    calls = []
    there = pipeline(elsewhere, tmp_path / "there", preprocess=lambda state: calls.append("again"))
    final = there.resume("r", on_change="continue")
    expected = pipeline(store, tmp_path).resume("r")
    assert calls == []
    assert plain(final) == plain(expected)
    for key in ("clean.nc", "plots"):
        final[key].check()
        assert final[key].path.is_relative_to(tmp_path / "there")
        assert final[key].digest == expected[key].digest
    assert final["clean.nc"].modified == expected["clean.nc"].modified
    assert final["both"]["files"][0] == final["clean.nc"]


def test_the_history_is_the_same(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    pipeline(store, tmp_path).execute(GIVEN, run_id="r")
    tau.export_run(store, "r", tmp_path / "r.tau")
    tau.import_run(elsewhere, tmp_path / "r.tau", new_run_id="s", artifacts=tmp_path / "there")
    before, after = pipeline(store, tmp_path).history("r"), pipeline(elsewhere, tmp_path).history("s")
    assert [(one.node, one.visit, one.next, one.timestamp) for one in before] == [
        (one.node, one.visit, one.next, one.timestamp) for one in after
    ]
    for one, other in zip(before, after, strict=True):
        assert plain(one.state) == plain(other.state)
    assert elsewhere.list() == ["s"]


def test_what_a_nested_value_refers_to_is_where_it_was_put(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    """Also in a value that is not in its record, and in one that has grown."""
    graph = pipeline(store, tmp_path)
    again = StateGraph("more", store=store)
    first = graph.execute(GIVEN, run_id="other")

    def one(state: Any) -> dict[str, Any]:
        return {"files": [("x" * 600, {first["clean.nc"]: 1})], "text": "y" * 600}

    def two(state: Any) -> dict[str, Any]:
        return {"files": [*state["files"], {"deep": (first["plots"], "z" * 600)}], "text": state["text"] + "y" * 600}

    again.add_node("one", one)
    again.add_node("two", two)
    again.sequence("one", "two")
    again.execute({}, run_id="r")
    assert tau.copy_run(store, "r", elsewhere, artifacts=tmp_path / "there").artifacts == 2
    state = elsewhere.load("r")
    found = [*state["files"][0][1], state["files"][1]["deep"][0]]
    assert [one.name for one in found] == ["clean.nc", "plots"]
    for one_file in found:
        one_file.check()
        assert one_file.path.is_relative_to(tmp_path / "there")
    assert state["files"][0][0] == "x" * 600
    assert state["text"] == "y" * 1200
    assert tau.verify(elsewhere).sound


def test_a_copy_is_its_own(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    """Either may be deleted."""
    pipeline(store, tmp_path).execute(GIVEN, run_id="r")
    tau.copy_run(store, "r", elsewhere)
    store.delete("r")
    assert tau.verify(elsewhere, "r").artifacts == 2
    assert tau.verify(elsewhere, "r").sound
    elsewhere.delete("r")
    assert list((tmp_path / "elsewhere").rglob("*.nc")) == []


def test_two_exports_of_one_run_are_the_same_bytes(store: Store, tmp_path: Path) -> None:
    failed(store, tmp_path)
    for name in ("a", "b"):
        tau.export_run(store, "r", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_run_that_waits_is_answered_where_it_was_imported(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    with pytest.raises(RunWaitingError):
        asking(store).execute({}, run_id="r")
    tau.copy_run(store, "r", elsewhere, move=True)
    summary = elsewhere.summary("r")
    assert summary is not None
    assert (summary.status, summary.pauses) == ("waiting", 1)
    assert asking(elsewhere).resume("r", answers={"review": "yes"})["sent"] == "yes"
    again = tau.copy_run(store, "r", elsewhere, move=True)  # of a move that is complete
    assert (again.run_id, again.status, again.records) == ("r", "finished", 0)
    assert elsewhere.load("r")["sent"] == "yes"


def test_a_run_is_exported_while_its_owner_writes(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    """It goes on from there, and neither disturbs the other."""
    done = []

    def analyze(state: Any, ctx: tau.Context) -> dict[str, Any]:
        ctx.step("fit", lambda: "x" * 1000)
        if not done:
            done.append(tau.export_run(store, "r", tmp_path / "r.tau"))
        ctx.step("second", lambda: "x" * 1000)
        return {"fits": []}

    graph = pipeline(store, tmp_path, analyze=analyze)
    expected = graph.execute(GIVEN, run_id="r")
    assert done[0].status == "running"
    put = tau.import_run(elsewhere, tmp_path / "r.tau")
    assert put.status == "interrupted"
    final = pipeline(elsewhere, tmp_path, analyze=analyze).resume("r")
    assert plain(final) == plain(expected)
    again = [unseal("r", at, data) for at, data in elsewhere.read("r")]
    assert sum(getattr(record, "name", "") == "fit" for record in again) == 1


def test_an_id_that_is_in_use_is_refused(store: Store, tmp_path: Path) -> None:
    pipeline(store, tmp_path).execute(GIVEN, run_id="r")
    tau.export_run(store, "r", tmp_path / "r.tau")
    before = store.read("r"), store.summary("r")
    with pytest.raises(RunExistsError) as raised:
        tau.import_run(store, tmp_path / "r.tau")
    assert raised.value.status == "finished"
    with pytest.raises(RunExistsError):
        tau.copy_run(store, "r", store)
    assert (store.read("r"), store.summary("r")) == before
    assert tau.verify(store).sound


def test_an_id_is_used_again_after_a_deletion(store: Store, tmp_path: Path) -> None:
    """And the positions go on: a process that knew the run before is refused."""
    failed(store, tmp_path)
    tau.export_run(store, "r", tmp_path / "r.tau")
    last = store.read("r")[-1][0]
    store.delete("r")
    for _ in range(2):
        tau.import_run(store, tmp_path / "r.tau", artifacts=tmp_path / "artifacts")
        assert store.read("r")[0][0] > last
        assert tau.verify(store).damage == ()
        last = store.read("r")[-1][0]
        pipeline(store, tmp_path).resume("r")
        store.delete("r")


def test_an_unfinished_run_needs_another_id_or_to_be_moved(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    failed(store, tmp_path)
    with pytest.raises(ConfigError, match="new_run_id"):
        tau.copy_run(store, "r", elsewhere)
    tau.copy_run(store, "r", elsewhere, new_run_id="s")
    assert store.summary("r").status == "failed"  # type: ignore[union-attr]
    tau.copy_run(store, "r", elsewhere, move=True)
    old, there = pipeline(store, tmp_path), f"run 'r' in {elsewhere.location}"
    asked: list[Callable[[], object]] = [
        lambda: old.resume("r"),
        lambda: old.execute(GIVEN, run_id="r", if_exists="resume"),
        lambda: old.wait("r", timeout=0),
    ]
    for ask in asked:
        with pytest.raises(RunCancelledError, match=f"was moved to {re.escape(there)}.*; go on .* there") as caught:
            ask()
        assert caught.value.moved_to == there
    with pytest.raises(RunExistsError, match=f"it is moved to {re.escape(there)}, so it cannot be resumed"):
        old.execute(GIVEN, run_id="r")
    last = unseal("r", *store.read("r")[-1])
    assert isinstance(last, Cancelled)
    assert last.reason == f"moved to run 'r' in {elsewhere.location}"
    for run_id in ("r", "s"):
        pipeline(elsewhere, tmp_path / run_id).resume(run_id)
    assert tau.verify(store).sound
    assert tau.verify(elsewhere).sound


def test_a_run_with_an_owner_is_not_moved(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    def analyze(state: Any) -> None:
        with pytest.raises(RunOwnedError):
            tau.copy_run(store, "r", elsewhere, move=True)

    pipeline(store, tmp_path, analyze=analyze, report=lambda state: None).execute(GIVEN, run_id="r")
    assert elsewhere.summary("r") is None


def test_a_run_that_is_taken_at_that_moment_is_not_moved(tmp_path: Path, elsewhere: Store) -> None:
    class Taking(StoreWrapper):
        def blobs(self, run_id: str, digests: Any) -> Any:
            found = super().blobs(run_id, digests)
            if not taken:
                taken.append(pipeline(inner, tmp_path).resume("r"))
            return found

    inner, taken = MemoryStore(), list[Any]()
    failed(inner, tmp_path)
    with pytest.raises(RunOwnedError, match="was not moved"):
        tau.copy_run(Taking(inner), "r", elsewhere, move=True)
    assert elsewhere.list() == []
    assert list((tmp_path / "elsewhere").rglob("*.nc")) == []
    assert inner.summary("r").status == "finished"  # type: ignore[union-attr]


@pytest.mark.parametrize("deleted", [False, True])
def test_a_killed_import_is_repeated(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    """Before and after each commit: the run is there whole, or not at all, and the same import makes it whole."""
    monkeypatch.setattr(incoming, "PART", 2000)
    failed(store, tmp_path)
    expected = [unseal("r", at, data) for at, data in store.read("r")]
    tau.export_run(store, "r", tmp_path / "r.tau")
    if deleted:
        store.delete("r")
    else:
        store = MemoryStore() if isinstance(store, MemoryStore) else store
        store.delete("r")
    at = seen = 0
    while seen >= at:
        at += 1
        for after in (False, True):
            cut = Cut(store, at, after)
            try:
                tau.import_run(cut, tmp_path / "r.tau", artifacts=tmp_path / "there")
            except Killed:
                seen = at
                there = store.list()
                assert there == [] or tau.verify(store, "r").sound
                if not there:
                    tau.import_run(store, tmp_path / "r.tau", artifacts=tmp_path / "there")
            assert len(store.read("r")) == len(expected)
            assert tau.verify(store).damage == ()
            store.delete("r")
    assert at > 5


def test_the_id_of_a_killed_import_may_be_used(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a run, or a state that is saved: nothing of the import is in its history."""
    monkeypatch.setattr(incoming, "PART", 2000)
    failed(store, tmp_path)
    tau.export_run(store, "r", tmp_path / "r.tau")
    with pytest.raises(Killed):
        tau.import_run(Cut(store, 3, after=True), tmp_path / "r.tau", new_run_id="s", artifacts=tmp_path / "there")
    assert store.list() == ["r"]
    with pytest.raises(CheckpointNotFoundError):
        store.load("s")
    with pytest.raises(CheckpointNotFoundError):
        tau.verify(store, "s")
    final = pipeline(store, tmp_path).execute(GIVEN, run_id="s")
    assert final["text"]
    assert [one.node for one in pipeline(store, tmp_path).history("s")] == [
        "ingest", "preprocess", "analyze", "report",
    ]  # fmt: skip
    assert tau.verify(store).sound
    with pytest.raises(Killed):
        tau.import_run(Cut(store, 3, after=True), tmp_path / "r.tau", new_run_id="t", artifacts=tmp_path / "there")
    store.save(tau.State({"x": 1}, run_id="t"))
    assert dict(store.load("t")) == {"x": 1}
    assert len(store.read("t")) == 2


def test_a_killed_move_is_completed_by_the_same_call(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    """At every commit of either store; at no moment can the run go on in both."""
    places = {"artifacts": tmp_path / "there"}
    for number, (source_at, target_at, after) in enumerate(
        [(1, 0, False), (1, 0, True), (0, 1, False), (0, 1, True), (0, 0, False)]
    ):
        run_id = f"r{number}"
        failed(store, tmp_path, run_id=run_id)
        source, target = Cut(store, source_at, after), Cut(elsewhere, target_at, after)
        try:
            tau.copy_run(source, run_id, target, move=True, **places)
        except Killed:
            here, there = store.summary(run_id), elsewhere.summary(run_id)
            assert here is not None
            assert (here.status == "cancelled") or there is None or there.status == "deleted"
            if there is None or there.status == "deleted":
                tau.copy_run(store, run_id, elsewhere, move=True, **places)
        assert store.summary(run_id).status == "cancelled"  # type: ignore[union-attr]
        assert pipeline(elsewhere, tmp_path).resume(run_id)["text"]
    assert tau.verify(elsewhere).sound


def test_a_full_target_leaves_nothing_behind(tmp_path: Path) -> None:
    class Full(StoreWrapper):
        def commit(self, batches: Any) -> Any:
            return [StoreFullError("the disk is full", location="x")] * len(batches)

    store = MemoryStore()
    failed(store, tmp_path)
    target = Full(MemoryStore())
    with pytest.raises(StoreFullError):
        tau.copy_run(store, "r", target, new_run_id="s", artifacts=tmp_path / "s")
    assert [path for path in (tmp_path / "s").rglob("*") if path.is_file()] == []


def test_a_damaged_run_is_not_exported(tmp_path: Path) -> None:
    class Damaged(StoreWrapper):
        def read(self, run_id: str, after: int = 0) -> Any:
            rows = super().read(run_id, after)
            return [*rows[:-1], (rows[-1][0], rows[-1][1][:-1])]

        def scan(self, run_id: str, after: int = 0) -> Any:
            return iter(self.read(run_id, after))

    store = MemoryStore()
    failed(store, tmp_path)
    with pytest.raises(CorruptCheckpointError, match="damaged"):
        tau.export_run(Damaged(store), "r", tmp_path / "r.tau")
    assert not (tmp_path / "r.tau").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]


def test_a_missing_file_of_the_newest_state_is_refused_and_of_an_earlier_one_told(store: Store, tmp_path: Path) -> None:
    failed(store, tmp_path, at="report")
    path = store.load("r")["clean.nc"].path
    path.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        tau.export_run(store, "r", tmp_path / "r.tau")
    store.save(store.load("r").drop("clean.nc"))
    assert tau.export_run(store, "r", tmp_path / "r.tau").missing == (str(path),)


def test_a_file_that_exists_is_not_written_over(store: Store, tmp_path: Path) -> None:
    failed(store, tmp_path)
    (tmp_path / "r.tau").write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        tau.export_run(store, "r", tmp_path / "r.tau")
    assert (tmp_path / "r.tau").read_text() == "mine"
    with pytest.raises(CheckpointNotFoundError):
        tau.export_run(store, "no such run", tmp_path / "s.tau")
    assert not (tmp_path / "s.tau").exists()


def test_artifacts_need_a_place(store: Store, tmp_path: Path) -> None:
    failed(store, tmp_path)
    with pytest.raises(ConfigError, match="artifacts="):
        tau.copy_run(store, "r", MemoryStore(), new_run_id="s")


def test_a_store_of_four_verbs_takes_runs_and_cannot_give_one_whole(tmp_path: Path, elsewhere: Store) -> None:
    register_store("mine", InBytes())
    store = MemoryStore()
    failed(store, tmp_path)
    tau.copy_run(store, "r", "mine", move=True, artifacts=tmp_path / "mine")
    mine = tau.open_store("mine")
    assert tau.verify(mine).sound
    with pytest.raises(StoreError, match="holds the newest values"):
        tau.copy_run(mine, "r", elsewhere, move=True)
    assert pipeline(mine, tmp_path).resume("r")["text"]


def test_a_long_run_that_was_resumed_from_before_damage_can_be_copied(tmp_path: Path, elsewhere: Store) -> None:
    class Damaged(StoreWrapper):
        def read(self, run_id: str, after: int = 0) -> Any:
            return [(at, data[:-1] if at == hurt else data) for at, data in super().read(run_id, after)]

        def scan(self, run_id: str, after: int = 0) -> Any:
            return iter(self.read(run_id, after))

    store, hurt = MemoryStore(), 0
    failed(store, tmp_path, at="report")
    hurt = store.read("r")[-1][0]
    pipeline(Damaged(store), tmp_path).resume("r")
    tau.copy_run(Damaged(store), "r", elsewhere, artifacts=tmp_path / "there")
    assert tau.verify(elsewhere).damage == ()
    assert elsewhere.load("r")["text"] == store.load("r")["text"]
    assert len(elsewhere.read("r")) == len(store.read("r")) - 1


def test_a_killed_export_leaves_no_file_under_that_name(tmp_path: Path) -> None:
    store = tau.open_store(f"sqlite:///{tmp_path}/runs.db")
    failed(store, tmp_path)
    program = f"""
import os, sys, tau
os.link = lambda *_: os.kill(os.getpid(), 9)
tau.export_run("sqlite:///{tmp_path}/runs.db", "r", "{tmp_path}/r.tau")
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "r.tau").exists()


class Takes(StoreWrapper):
    """Takes so many commits, and is full then."""

    left = 0

    def commit(self, batches: Any) -> Any:
        if not self.left:
            return [StoreFullError("the disk is full") for _ in batches]
        self.left -= 1
        return super().commit(batches)


def test_a_move_into_a_full_store_leaves_the_run_where_it_was_or_is_completed_by_the_same_call(tmp_path: Path) -> None:
    origin, target = MemoryStore(), Takes(MemoryStore())
    failed(origin, tmp_path)
    with pytest.raises(StoreFullError):
        tau.copy_run(origin, "r", target, move=True, artifacts=tmp_path / "there")
    assert origin.summary("r").status == "failed"  # type: ignore[union-attr]
    target.left = 2  # the first record, and the name of the store
    with pytest.raises(StoreError, match="nothing is lost: the same move, made again, completes it"):
        tau.copy_run(origin, "r", target, move=True, artifacts=tmp_path / "there")
    assert origin.summary("r").status == "cancelled"  # type: ignore[union-attr]
    target.left = 100
    assert tau.copy_run(origin, "r", target, move=True, artifacts=tmp_path / "there").status == "failed"


class Begun(StoreWrapper):
    """In which another process begins the run at the moment before the last commit."""

    begun = False

    def commit(self, batches: Any) -> Any:
        if not self.begun and any(one.run_id == "r" and one.summary.status != "deleted" for one in batches):
            self.begun = True
            other = StateGraph("other", store=self.store)
            other.add_node("end", lambda _: {})
            other.sequence("end")
            other.execute({}, run_id="r")
        return super().commit(batches)


def test_a_move_to_an_id_that_is_begun_at_that_moment_is_completed_under_another(tmp_path: Path) -> None:
    origin, target = MemoryStore(), Begun(MemoryStore())
    with pytest.raises(RunWaitingError):
        asking(origin).execute({}, run_id="r")
    with pytest.raises(RunExistsError, match="nothing is lost: the same move to another id completes it"):
        tau.copy_run(origin, "r", target, move=True)
    with pytest.raises(RunExistsError):
        tau.copy_run(origin, "r", target, move=True)
    assert tau.copy_run(origin, "r", target, move=True, new_run_id="s").status == "waiting"
    assert asking(target).resume("s", answers={"review": "yes"})["sent"] == "yes"
    again = tau.copy_run(origin, "r", target, move=True, new_run_id="s")
    assert (again.run_id, again.status, again.records) == ("s", "finished", 0)


def test_an_export_reads_again_where_a_run_at_work_has_removed_a_file_meanwhile(tmp_path: Path) -> None:
    """It keeps the newest file only: those of the position that is read first are gone as it is read."""
    store = open_store(f"sqlite:///{tmp_path}/runs.db")
    graph = StateGraph("turns", store=store)

    def turn(state: Any, ctx: tau.Context) -> dict[str, Any]:
        with ctx.artifact("page", keep_last=1) as path:
            path.write_text(str(state.get("turn", 0)))
        return {"turn": state.get("turn", 0) + 1}

    def between(state: Any, ctx: tau.Context) -> None:
        if state["turn"] == 3:
            owner.update(StoredRun(store, "r").__dict__)
        elif state["turn"] == 5:
            source = StoredRun(store, "r", until=owner["until"])
            with (tmp_path / "r.tau").open("w+b") as file:
                done.append(transfer._write_as_it_goes_on(source, file))

    owner: dict[str, Any] = {}
    done: list[Any] = []
    graph.add_node("turn", turn)
    graph.add_node("between", between)
    graph.add_edge("turn", "between")
    graph.add_edge("between", "turn", lambda state: state["turn"] < 6)
    graph.set_entry_point("turn")
    graph.add_node("end", lambda _: {})
    graph.add_edge("between", "end")
    graph.set_exit_point("end")
    graph.execute({}, run_id="r")
    assert done[0]["status"] == "running"
    target = open_store(f"sqlite:///{tmp_path}/there/runs.db")
    tau.import_run(target, tmp_path / "r.tau")
    assert target.load("r")["turn"] == 5
    assert target.load("r")["page"].path.read_text() == "4"
