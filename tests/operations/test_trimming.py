"""A history that is cut at its newest manifest: what the run needs stays, and it goes on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from keeping import failed, pipeline

import tau
from tau import ExecutionError, StateGraph
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper


def loop(store: Store, end: int = 90, broken: int = 0) -> StateGraph:
    """Many visits, each of which replaces a large value, and one that stays from the beginning."""
    graph = StateGraph("loop", store=store)

    def step(state: Any) -> dict[str, Any]:
        if state["n"] == broken:
            raise ValueError("no")
        return {"n": state["n"] + 1, "large": f"{state['n']} " * 400, "log": [*state["log"], "x" * 300]}

    graph.add_node("step", step, version="1")
    graph.add_edge("step", "step", tau.not_(tau.key_equals("n", end)))
    graph.add_edge("step", "end", tau.key_equals("n", end))
    graph.add_node("end", lambda state: None, version="1")
    graph.set_entry_point("step")
    graph.set_exit_point("end")
    return graph


def begun(store: Store, run_id: str = "r") -> StateGraph:
    with pytest.raises(ExecutionError):
        loop(store, broken=80).execute({"n": 0, "log": [], "old": "o" * 3000}, run_id=run_id)
    return loop(store)


def trimmed(store: Store, **options: Any) -> tuple[str, ...]:
    return tau.collect_runs(store, None, trim=True, **options).trimmed


def test_a_run_goes_on_whose_history_was_cut(store: Store) -> None:
    graph = begun(store)
    before, summary = store.load("r"), store.summary("r")
    assert summary is not None
    rows, numbers = store.read("r"), tau.verify(store)
    assert summary.base > 40
    assert trimmed(store, dry_run=True) == ("r",)
    assert store.read("r") == rows
    assert trimmed(store) == ("r",)
    assert store.summary("r") == summary
    assert dict(store.load("r")) == dict(before)
    left = store.read("r")
    assert left == rows[-len(left) :]
    assert 1 < left[0][0] <= summary.base
    found = tau.verify(store)
    assert found.damage == ()
    assert found.blobs < numbers.blobs
    assert trimmed(store) in ((), ("r",))  # a store may leave what it cannot remove in one step
    history = graph.history("r")
    assert history[-1].state["large"] == before["large"]
    assert history[0].seq == left[0][0]
    final = graph.resume("r")
    assert (final["n"], final["old"], len(final["log"])) == (90, "o" * 3000, 90)
    assert tau.verify(store).damage == ()


def test_it_can_be_copied_and_forked(store: Store, elsewhere: Store) -> None:
    graph = begun(store)
    trimmed(store)
    tau.copy_run(store, "r", elsewhere, new_run_id="s")
    assert tau.verify(elsewhere).damage == ()
    assert loop(elsewhere).resume("s")["n"] == 90
    graph.fork("r", new_run_id="t")
    assert graph.resume("t")["n"] == 90
    with pytest.raises(tau.ConfigError, match="has no readable entry"):
        graph.fork("r", at=2)
    assert tau.stats(store).runs[-1].checkpoints > 10


def test_nothing_is_cut_of_a_run_at_work_or_with_damage(tmp_path: Path) -> None:
    class Damaged(StoreWrapper):
        def read(self, run_id: str, after: int = 0) -> Any:
            return [(at, data[:-1] if at == hurt else data) for at, data in super().read(run_id, after)]

        def scan(self, run_id: str, after: int = 0) -> Any:
            return iter(self.read(run_id, after))

    store = MemoryStore()
    begun(store)
    summary = store.summary("r")
    assert summary is not None
    for hurt in (summary.base, summary.position):  # noqa: B007 - Damaged looks at it
        assert trimmed(Damaged(store)) == ()
    seen = []

    def look(state: Any) -> None:
        seen.append(trimmed(store, graph="climate"))

    pipeline(store, tmp_path, analyze=look, report=lambda state: None).execute({"start": 1}, run_id="works")
    assert seen == [()]
    assert store.read("r")[0][0] == 1


def test_a_run_that_moves_on_at_that_moment_is_left_alone() -> None:
    class Moving(StoreWrapper):
        def trim(self, run_id: str, first: int, blobs: Any, *, expected: int) -> None:
            loop(inner).resume(run_id)
            super().trim(run_id, first, blobs, expected=expected)

    inner = MemoryStore()
    begun(inner)
    assert trimmed(Moving(inner)) == ()
    assert inner.read("r")[0][0] == 1
    assert tau.verify(inner).sound


def test_trimming_and_limits_go_together(store: Store, tmp_path: Path) -> None:
    begun(store)
    failed(store, tmp_path, run_id="short")
    pipeline(store, tmp_path).execute({"start": 1}, run_id="done")
    found = tau.collect_runs(store, tau.Retention(keep_last=0), artifacts=tmp_path / "artifacts", trim=True)
    assert [one.run_id for one in found.removed] == ["done"]
    assert found.trimmed == ("r",)
    with pytest.raises(tau.ConfigError):
        tau.collect_runs(store, None)


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """The process ends before or after the n-th change of a name."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0

    def _point(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise Killed

    def around(self, change: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self._point()
            done = change(*arguments, **options)
            self._point()
            return done

        return call


def test_a_directory_of_files_is_whole_wherever_a_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each change of a name."""
    whole = tau.open_store(f"file://{tmp_path}/whole")
    begun(whole)
    whole.close()
    at, killed = 0, True
    while killed:
        at, killed = at + 1, False
        shutil.copytree(tmp_path / "whole", tmp_path / str(at))
        with monkeypatch.context() as patch, tau.open_store(f"file://{tmp_path}/{at}") as store:
            assert store.list() == ["r"]
            dying = Dying(at)
            for name in ("rename", "unlink"):
                patch.setattr(f"os.{name}", dying.around(getattr(os, name)))
            try:
                trimmed(store)
            except Killed:
                killed = True
        with tau.open_store(f"file://{tmp_path}/{at}") as store:
            assert tau.verify(store).damage == ()
            assert trimmed(store) in ((), ("r",))
            assert loop(store).resume("r")["n"] == 90
            assert tau.verify(store).damage == ()
    assert at > 4
