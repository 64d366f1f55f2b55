"""Runs over a limit go, and nothing that any other run needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keeping import GIVEN, Cut, Killed, asking, failed, pipeline, plain

import tau
from tau import CheckpointConfig, ConfigError, GraphConfig, Retention, RunWaitingError, StateGraph
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper


def finished(store: Store, folder: Path, *names: str, graph: str = "climate") -> None:
    for name in names:
        pipeline(store, folder, name=graph).execute(GIVEN, run_id=name)


def collect(store: Store, folder: Path, **options: Any) -> tau.Collected:
    dry_run, graph = options.pop("dry_run", False), options.pop("graph", None)
    place = folder / "artifacts"
    return tau.collect_runs(store, Retention(**options), graph=graph, artifacts=place, dry_run=dry_run)


def ids(found: tau.Collected) -> list[str]:
    return [one.run_id for one in found.removed]


def test_the_newest_stay_of_each_graph(store: Store, tmp_path: Path) -> None:
    finished(store, tmp_path, "a", "b", "c")
    finished(store, tmp_path, "x", "y", graph="other")
    dry = collect(store, tmp_path, keep_last=1, dry_run=True)
    assert ids(dry) == ["x", "a", "b"] or ids(dry) == ["a", "b", "x"]
    assert {one.limit for one in dry.removed} == {"keep_last"}
    assert sorted(store.list()) == ["a", "b", "c", "x", "y"]
    assert ids(collect(store, tmp_path, keep_last=1, graph="other")) == ["x"]
    assert ids(collect(store, tmp_path, keep_last=1)) == ["a", "b"]
    assert sorted(store.list()) == ["c", "y"]
    assert {path.name for path in (tmp_path / "artifacts").glob("*/r-*")} == {"r-c", "r-y"}
    assert tau.verify(store).damage == ()
    assert ids(collect(store, tmp_path, keep_last=0)) in (["c", "y"], ["y", "c"])


def test_what_ended_long_ago_goes(store: Store, tmp_path: Path) -> None:
    finished(store, tmp_path, "a", "b")
    assert ids(collect(store, tmp_path, max_age=3600.0)) == []
    (one, other) = collect(store, tmp_path, max_age=0.0).removed
    assert (one.run_id, other.run_id) == ("a", "b")
    assert one.limit == "max_age"
    assert one.ended < other.ended


def test_the_oldest_go_that_take_too_much(store: Store, tmp_path: Path) -> None:
    finished(store, tmp_path, "a", "b", "c")
    size = tau.stats(store).runs[0].size_bytes + 4000
    assert ids(collect(store, tmp_path, max_bytes=10 * size)) == []
    (one,) = collect(store, tmp_path, max_bytes=int(2.5 * size)).removed
    assert (one.run_id, one.limit) == ("a", "max_bytes")
    assert ids(collect(store, tmp_path, max_bytes=0)) == ["b", "c"]


def test_nothing_goes_that_can_be_resumed(store: Store, tmp_path: Path) -> None:
    failed(store, tmp_path, run_id="failed")
    with pytest.raises(RunWaitingError):
        asking(store).execute({}, run_id="waits")
    store.save(tau.State({"x": 1}, run_id="by hand"))
    pipeline(store, tmp_path).admit(GIVEN, run_id="admitted")
    finished(store, tmp_path, "done")
    failed(store, tmp_path, run_id="cancelled")
    pipeline(store, tmp_path).cancel("cancelled")
    working = []

    def report(state: Any) -> None:
        working.append(sorted(ids(collect(store, tmp_path, keep_last=0, max_age=0.0, max_bytes=0))))

    pipeline(store, tmp_path, report=report).execute(GIVEN, run_id="works")
    assert working == [["cancelled", "done"]]
    assert sorted(store.list()) == ["admitted", "by hand", "failed", "waits", "works"]
    assert tau.verify(store).damage == ()
    for run_id in ("failed", "admitted"):
        assert pipeline(store, tmp_path).resume(run_id)["text"]
    assert asking(store).resume("waits", answers={"review": 1})["sent"] == 1


def test_a_fork_outlives_its_parent(store: Store, tmp_path: Path) -> None:
    finished(store, tmp_path, "r")
    graph = pipeline(store, tmp_path)
    at = graph.history("r")[1].seq
    graph.fork("r", at=at, new_run_id="s")
    assert ids(collect(store, tmp_path, keep_last=0)) == ["r"]
    assert graph.resume("s")["text"]
    assert tau.verify(store).sound


def test_a_run_that_another_replays_stays_until_that_has_ended(store: Store, tmp_path: Path) -> None:
    done: list[int] = []
    graph = StateGraph("asking", store=store)
    graph.add_node("ask", lambda state, ctx: {"answer": ctx.journal("ask", str, 1)})
    graph.add_node("use", lambda state: 1 / 0 if not done else None)
    graph.sequence("ask", "use")
    done.append(1)
    graph.execute({}, run_id="r")
    done.clear()
    with pytest.raises(tau.ExecutionError):
        graph.replay("r", new_run_id="s")
    found = collect(store, tmp_path, keep_last=0)
    assert (ids(found), found.kept) == ([], {"r": "run 's', which has not ended, replays it"})
    assert "r" not in tau.collect_runs(store, None, trim=True).trimmed
    done.append(1)
    assert graph.resume("s")["answer"] == "1"
    assert sorted(ids(collect(store, tmp_path, keep_last=0))) == ["r", "s"]


def test_a_run_whose_files_another_needs_stays(store: Store, tmp_path: Path) -> None:
    """However deep the reference lies, until that one has ended."""
    finished(store, tmp_path, "r")
    file = store.load("r")["clean.nc"]
    other = StateGraph("other", store=store)
    other.add_node("one", lambda state: {"deep": [("x" * 600, {"file": file})]})
    other.add_node("two", lambda state: 1 / 0 if not done else None)
    other.sequence("one", "two")
    done: list[int] = []
    with pytest.raises(tau.ExecutionError):
        other.execute({}, run_id="s")
    found = collect(store, tmp_path, keep_last=0, graph="climate")
    assert (ids(found), list(found.kept)) == ([], ["r"])
    assert "refers to its files" in found.kept["r"]
    done.append(1)
    other.resume("s")
    assert ids(collect(store, tmp_path, keep_last=0, graph="climate")) == ["r"]


def test_a_run_that_was_moved_stays(store: Store, tmp_path: Path, elsewhere: Store) -> None:
    failed(store, tmp_path)
    tau.copy_run(store, "r", elsewhere, move=True)
    found = collect(store, tmp_path, keep_last=0)
    assert (ids(found), list(found.kept)) == ([], ["r"])
    assert "moved" in found.kept["r"]


def test_a_run_that_begins_anew_at_that_moment_stays(tmp_path: Path) -> None:
    class Anew(StoreWrapper):
        def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
            if not begun:
                begun.append(1)
                inner.delete(run_id)
                finished(inner, tmp_path, run_id)
            super().delete(run_id, keep_summary, expected=expected)

    inner, begun = MemoryStore(), list[int]()
    finished(inner, tmp_path, "r")
    assert ids(collect(Anew(inner), tmp_path, keep_last=0)) == []
    assert tau.verify(inner).sound
    assert inner.load("r")["text"]


class CutAtDeletion(Cut):
    """Its process ends at a deletion: before it, or after it and before the files are removed."""

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if method == "delete" and not self.dead:
            self.seen += 1
            if self.seen == self.at:
                self.dead = True
                if self.after:
                    self.store.delete(*arguments, **options)
                raise Killed
        return super().call(method, *arguments, **options)


def test_a_killed_collection_is_completed_by_the_next(store: Store, tmp_path: Path) -> None:
    """No run that is there lacks a file at any moment, and no file of one that is gone stays."""
    for at in (1, 2, 3):
        for after in (False, True):
            finished(store, tmp_path, "a", "b", "c", "d")
            with pytest.raises(Killed):
                collect(CutAtDeletion(store, at, after), tmp_path, keep_last=1)
            assert tau.verify(store).damage == ()
            collect(store, tmp_path, keep_last=1)
            assert store.list() == ["d"]
            assert [path.name for path in (tmp_path / "artifacts").glob("*/r-*")] == ["r-d"]
            assert plain(store.load("d"))["text"] == "3 fits of 1958"
            store.delete("d")
            collect(store, tmp_path, keep_last=1)


def test_the_summaries_of_runs_that_kept_nothing_go_too(store: Store, tmp_path: Path) -> None:
    finished(store, tmp_path, "a", "b")
    store.delete("a", keep_summary=True)
    assert ids(collect(store, tmp_path, keep_last=1)) == ["b"] or [row.run_id for row in store.runs()] == ["b"]
    collect(store, tmp_path, keep_last=0)
    assert list(store.runs()) == []


def test_a_retention_has_limits_that_are_checked() -> None:
    for wrong in ({"keep_last": -1}, {"max_age": -1.0}, {"max_bytes": "many"}, {"keep_last": True}, {}):
        with pytest.raises(ConfigError, match="retention"):
            Retention(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Retention"):
        tau.collect_runs(MemoryStore(), 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"checkpoint\.retention"):
        CheckpointConfig(retention={"keep_last": 1})  # type: ignore[arg-type]


def test_a_retention_goes_through_json() -> None:
    config = GraphConfig("g", checkpoint=CheckpointConfig(retention=Retention(keep_last=3, max_age=60.0)))
    assert GraphConfig.from_json(config.to_json()) == config
    assert GraphConfig.from_dict({"name": "g", "checkpoint": {"retention": None}}).checkpoint.retention is None
    text = '{"name": "g", "checkpoint": {"retention": {"keep_lst": 3}}}'
    with pytest.raises(ConfigError, match=r"checkpoint\.retention\.keep_lst.*keep_last"):
        GraphConfig.from_json(text)
