"""A copy, a move, an import or a fork that is killed at any step leaves nothing that `collect_runs` does not find."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from keeping import failed, pipeline

import tau
from tau import Retention, RunExistsError, open_store
from tau.stores import artifact_marks
from tau.stores.contract import Store
from tau.stores.sqlite.store import SQLiteStore

STEPS = ("open", "mkdir", "write", "fsync", "utime", "fchmod", "rename", "unlink", "link", "rmdir")
LONG = "r" * 300


def killed_at(step: int, work: Callable[[], object], calls: tuple[str, ...] = STEPS) -> bool:
    """Do that in a child that is killed before so many of these calls; whether it was."""
    pid = os.fork()
    if not pid:
        left = step
        try:

            def counted(real: Callable[..., Any]) -> Callable[..., Any]:
                def call(*arguments: Any, **options: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if not left:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*arguments, **options)

                return call

            for name in calls:
                setattr(os, name, counted(getattr(os, name)))
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0


def files(place: Path) -> set[Path]:
    """All there is but empty directories."""
    return {path for path in place.rglob("*") if not path.is_dir()}


def named(store: Store, run_id: str) -> set[Path]:
    """The files that the state of a run refers to."""
    found = set[Path]()
    for artifact in store.load(run_id).values():
        if isinstance(artifact, tau.Artifact):
            artifact.check()
            found |= files(artifact.path) if artifact.directory else {artifact.path}
    return found


@pytest.fixture(params=["sqlite", "file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kept = {"sqlite": f"sqlite:///{tmp_path}/there.db", "file": f"file://{tmp_path}/there"}
    return kept.get(request.param) or str(request.getfixturevalue(f"{request.param}_url"))


@pytest.mark.parametrize("verb", ["copy", "move", "fork"])
@pytest.mark.parametrize("stride", [13, pytest.param(1, marks=pytest.mark.deep)])
def test_what_a_killed_copy_leaves_is_removed(url: str, verb: str, stride: int, tmp_path: Path) -> None:
    """At each step: the run is there whole or not at all, and what nobody refers to goes with the next collection."""
    here, place = f"sqlite:///{tmp_path}/here.db", tmp_path / "artifacts"
    at, killed = 1, True
    while killed:
        run_id = f"{verb}-{at}" + LONG * (at % 3 == 0)

        def work(run_id: str = run_id) -> None:
            if verb == "fork":
                pipeline(open_store(url), tmp_path).fork(f"{run_id}-0", new_run_id=run_id)
            else:
                tau.copy_run(here, f"{run_id}-0", url, new_run_id=run_id, move=verb == "move", artifacts=place)

        with open_store(url if verb == "fork" else here) as store:
            failed(store, tmp_path, "report", f"{run_id}-0")
        before = files(place)
        killed = killed_at(at, work)
        with open_store(url) as target:
            tau.collect_runs(target, Retention(keep_last=100), artifacts=place)
            there = run_id in target.list()
            assert there or killed
            assert files(place) - before == (named(target, run_id) if there else set()), at
            if not there:
                work()
            assert target.list().count(run_id) == 1
            assert files(place) - before == named(target, run_id)
            assert tau.verify(target).sound
        at += stride
    assert at > 60


class Watched(SQLiteStore):
    """Does something before each commit."""

    before: Callable[[Watched], None] = lambda _: None

    def commit(self, batches: Any) -> Any:
        self.before()
        return super().commit(batches)


def test_a_copy_at_work_is_left_alone(tmp_path: Path) -> None:
    here, place, seen = open_store(f"sqlite:///{tmp_path}/here.db"), tmp_path / "artifacts", list[str]()
    failed(here, tmp_path, "report")

    def collect(store: Store) -> None:
        seen.extend(path.name for path in place.glob("*/r-s/+*"))
        if len(seen) == 1:
            tau.collect_runs(store, Retention(keep_last=0), artifacts=place)

    class Target(Watched):
        before = collect

    target = Target(tmp_path / "there.db")
    tau.copy_run(here, "r", target, new_run_id="s", artifacts=place)
    assert len(seen) == 1
    assert "-copy-" in seen[0]
    assert list(place.glob("*/*/+*")) == []
    assert pipeline(target, tmp_path).resume("s")["text"]


def of_another_machine(mark: Path) -> Path:
    return mark.rename(mark.with_name(f"+00000000-{mark.name[1:].partition('-')[2]}"))


def test_what_was_left_by_another_machine_goes_after_a_day(tmp_path: Path) -> None:
    here, place = f"sqlite:///{tmp_path}/here.db", tmp_path / "artifacts"
    with open_store(here) as store:
        failed(store, tmp_path, "report")
    before, there = files(place), f"sqlite:///{tmp_path}/there.db"
    copy = partial(tau.copy_run, here, "r", there, new_run_id="s", artifacts=place)
    assert killed_at(2, copy, ("rename",))
    mark = of_another_machine(next(place.glob("*/r-s/+*")))
    assert len(files(place) - before) > 1
    with open_store(there) as target:
        for age in (0.0, artifact_marks.LEFT_AFTER - 60):
            os.utime(mark, (mark.stat().st_mtime - age,) * 2)
            tau.collect_runs(target, Retention(keep_last=0), artifacts=place)
            assert mark.exists()
        os.utime(mark, (mark.stat().st_mtime - 120,) * 2)
        tau.collect_runs(target, Retention(keep_last=0), artifacts=place)
        assert files(place) == before
        copy()
        assert tau.verify(target).sound


@pytest.mark.parametrize("move", [False, True])
def test_one_that_was_taken_for_dead_and_lives_is_refused(tmp_path: Path, move: bool) -> None:
    """Its files are gone, so its commit must not count; made again it succeeds."""
    here, place, done = open_store(f"sqlite:///{tmp_path}/here.db"), tmp_path / "artifacts", list[int]()
    failed(here, tmp_path, "report")

    def collect() -> None:
        with open_store(f"sqlite:///{tmp_path}/there.db") as store:
            tau.collect_runs(store, Retention(keep_last=0), artifacts=place)

    def beside(_: Store) -> None:
        for mark in [*place.glob("*/r-s/+*")] if not done else ():
            done.append(1)
            os.utime(of_another_machine(mark), (0, 0))
            collecting = threading.Thread(target=collect)
            collecting.start()
            collecting.join()

    class Target(Watched):
        before = beside

    before = files(place)
    with Target(tmp_path / "there.db") as target:
        with pytest.raises(RunExistsError):
            tau.copy_run(here, "r", target, new_run_id="s", move=move, artifacts=place)
        assert target.list() == []
        assert files(place) == before
        assert here.load("r").run_id == "r"
        tau.copy_run(here, "r", target, new_run_id="s", move=move, artifacts=place)
        assert tau.verify(target).sound
        assert pipeline(target, tmp_path).resume("s")["text"]
